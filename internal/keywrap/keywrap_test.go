package keywrap_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/internal/keywrap"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type way struct {
	wrap, unwrap func(kek, data []byte) ([]byte, error)
}

var (
	rfc3394 = way{keywrap.Wrap, keywrap.Unwrap}
	rfc5649 = way{keywrap.WrapPadded, keywrap.UnwrapPadded}
)

// check wraps and unwraps, and tries every single flipped bit, every shorter
// and a longer input, and another key.
func (w way) check(t *testing.T, kek, data, want []byte) {
	t.Helper()
	got, err := w.wrap(kek, data)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("wrapped %x, %v, want %x", got, err, want)
	}
	back, err := w.unwrap(kek, want)
	if err != nil || !bytes.Equal(back, data) {
		t.Fatalf("unwrapped %x, %v, want %x", back, err, data)
	}
	for bit := range 8 * len(want) {
		bad := bytes.Clone(want)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := w.unwrap(kek, bad); !errors.Is(err, keywrap.ErrUnwrap) {
			t.Fatalf("with bit %d flipped: %x, %v", bit, got, err)
		}
	}
	for n := range len(want) {
		if got, err := w.unwrap(kek, want[:n]); !errors.Is(err, keywrap.ErrUnwrap) {
			t.Fatalf("of %d bytes: %x, %v", n, got, err)
		}
	}
	if got, err := w.unwrap(kek, append(bytes.Clone(want), make([]byte, 8)...)); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Fatalf("with a block more: %x, %v", got, err)
	}
	other := bytes.Clone(kek)
	other[0] ^= 1
	if got, err := w.unwrap(other, want); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Fatalf("with another key: %x, %v", got, err)
	}
}

// The vectors of RFC 3394 section 4 and RFC 5649 section 6.
func TestVectorsOfTheRFCs(t *testing.T) {
	const k = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
	const d = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F"
	const k5649 = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"
	for _, tc := range []struct {
		name            string
		way             way
		kek, data, want string
	}{
		{"4.1", rfc3394, k[:32], d[:32], "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{"4.2", rfc3394, k[:48], d[:32], "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"},
		{"4.3", rfc3394, k, d[:32], "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"},
		{"4.4", rfc3394, k[:48], d[:48], "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2"},
		{"4.5", rfc3394, k, d[:48], "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1"},
		{"4.6", rfc3394, k, d, "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
		{"20 bytes", rfc5649, k5649, "c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"7 bytes", rfc5649, k5649, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.way.check(t, unhex(t, tc.kek), unhex(t, tc.data), unhex(t, tc.want)) })
	}
}

// spread makes n bytes from a word, as what made the vectors below did.
func spread(word string, n int) (out []byte) {
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s-%d", word, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// Vectors that python3-cryptography 48.0.0 (OpenSSL) made.
func TestVectorsOfOpenSSL(t *testing.T) {
	for _, tc := range []struct {
		name      string
		way       way
		kek, data int // bytes
		want      string
	}{
		{"RFC 3394", rfc3394, 16, 16, "1136ba45d2e29ccae0b9601d9c636431c6a9aa02295278ef"},
		{"RFC 3394", rfc3394, 16, 24, "043968363b86133fe7441b42ff05c64a3ece1608c040f2dea870d24280482fd5"},
		{"RFC 3394", rfc3394, 16, 40, "8af8d2d7dffbf844a74a548ccbdbd59a6b97b5f7be65b11af1d192cbd6ddaa7a87011feec9ea2d7ec739ca64b341326f"},
		{"RFC 3394", rfc3394, 16, 64, "47e739ddd8f75ee2244970f10707c5ad4b6fdda752ef529c3005f1addb682e0aad79a880901e5dfcd5d88d770fa5afb18c27fac727c71ef5c1cf8cf676280e868b75fe43abe7a12e"},
		{"RFC 3394", rfc3394, 16, 128, "ca92906f9038de0d26bfdaad7b35f2f5bc41e06919c2e0f67515f331a48106dc0d22e3eb1655e45eb2c51e1e44abfe47ee5f42c644290ba83c9e6a1a49899a5a9b9f7b6913d1289785b79436c93df5142f834237a8626be1f9b23615f005fddff194c776f8b9a366d9e4d22c45b737a337cd4397a1490fbc126fd3211b852a383f7ab4713c09c3f8"},
		{"RFC 5649", rfc5649, 16, 1, "7718e0b08b5ce584453ceafe02e9de3a"},
		{"RFC 5649", rfc5649, 16, 7, "10bcea62475e1c7e90c32136fc282165"},
		{"RFC 5649", rfc5649, 16, 8, "c028779643afe27ec5b3373744650bb9"},
		{"RFC 5649", rfc5649, 16, 9, "9ffbfff253eabf4e8b04100c3f7c331b9646de736d537156"},
		{"RFC 5649", rfc5649, 16, 15, "f6b18b6d18274488844bc1325b522d2e504e3732bd3e274b"},
		{"RFC 5649", rfc5649, 16, 16, "92c9154b515b571c25bab3f72e431fe0231637bd96d8e0d2"},
		{"RFC 5649", rfc5649, 16, 17, "1edce35d26bd6f614a05c0f1b9ce02444fdb381fa60efcf15fc13bb8ac061efd"},
		{"RFC 5649", rfc5649, 16, 20, "cd37f380f025947763c361662f37bf864e54b563fb3a2e6e77800afba45ce916"},
		{"RFC 5649", rfc5649, 16, 31, "155c6089ed99fa382d8810f2e24f431d5eefbb9e00be581472d37a7ad569ff6b73b33c89a9846064"},
		{"RFC 5649", rfc5649, 16, 100, "89fca3d188477197a9e7f3420903a6f5cea77e6697910a038639972600ba96d25015d4947207ef78ce5bec51b2e62b952dfebaecd19891759d635920f2155e8654936ba670801274522e708928e777c677459c806de639f28c91041fe4785b7114bb2e00ad7b3353ac45f9bb47e6151b"},
		{"RFC 3394", rfc3394, 24, 16, "67cf4f8cfc3af560ec767d17d631b4948d8122b529014a93"},
		{"RFC 3394", rfc3394, 24, 24, "bbef89d0f5c8ef11e2da707eba9e44fa8079319da10e4b481cecbda410459f42"},
		{"RFC 3394", rfc3394, 24, 40, "75baad122456a125eb919c10daa2d9374b740184277618e184b36734902c5f088f0a443a9026fc9342a720f719198c5b"},
		{"RFC 3394", rfc3394, 24, 64, "9879abd56ed3998c97264178cdce031f952acf2d0eddbc8abc52d8ca141eb77407a21b57f116172677d7f444d831b3bba527512c3b7830dcd23575e927fe58a0ce52c3467ac6e849"},
		{"RFC 3394", rfc3394, 24, 128, "3e9ae90fcb432032e96c48176c5936d8d1fc493851c7c0314e7ed60cd2905af0646f1066c4e7c8894d8c2fce0be76559bcca720bfe07c1387c6d5feb96bafa4c6b1e9e1993dd71a3085553f53abf454e74d8700bc26637902f7d6481607aa8b427476c48e53a5d578e6e12267936c79d6ac1b65ce1960a62fd88f3e136561dbc27e64315099591eb"},
		{"RFC 5649", rfc5649, 24, 1, "e105c17706922ce69fdbf51d72569bde"},
		{"RFC 5649", rfc5649, 24, 7, "dce96e2532e011d3a3bc5857e3be1d04"},
		{"RFC 5649", rfc5649, 24, 8, "83944eb29b52b0014239054c61f3da3a"},
		{"RFC 5649", rfc5649, 24, 9, "db33ae191730ff48d5ad96724c38fc9d04556d71595b5de8"},
		{"RFC 5649", rfc5649, 24, 15, "07a2c31f3a0d45e186380a354221cfbf52045c0a84062e54"},
		{"RFC 5649", rfc5649, 24, 16, "b7e4f5b5efa3c77527a46401563512671bab7e8a1a54b584"},
		{"RFC 5649", rfc5649, 24, 17, "e3bbf82a21b6d8dc586546c4b7451aad889f8250d316f8fde53e5ad7fd594b4d"},
		{"RFC 5649", rfc5649, 24, 20, "312cdaeeaeaa4c20daad4fd74f446f8895a9bc6ca6be06db39f732472a7bbcbc"},
		{"RFC 5649", rfc5649, 24, 31, "3eb6b41394c471c6e369fca27bba6b8cbbd3583a2a82dce9e87bb58f23b73e764c128842fcfb5482"},
		{"RFC 5649", rfc5649, 24, 100, "6805a7dc6d62008506bb2e81a211c06bbee9b2ce16dd0492a05a0fb0818fc4d6dd256b50e016b49b1f7d98d78b6b474b32ad6a99cd54e13de006387de2e9f0394fcb9c96e0a7af428cca6f15e3f3a0dd8799c7d7cdd456a8a625f98f01c779800c6ba9e04e39ec5349fa3abe17f06c8d"},
		{"RFC 3394", rfc3394, 32, 16, "f6049f9c1a4747b03d34ead6d6d0dcdf3db06ac0b49a8ff3"},
		{"RFC 3394", rfc3394, 32, 24, "dd0ea813ff7f3877f6d097b30787a7264d42f36cfa2235aac539d23561745034"},
		{"RFC 3394", rfc3394, 32, 40, "a0a099e0127bb89219b8710c5042a29581be43e696ecaff1ee91b8639f84172cac7765d4dd943dad4ce7469e30be6a28"},
		{"RFC 3394", rfc3394, 32, 64, "358931200f9590ed8f1b9fbfe82b96a18abd83497012d2f7b35f65a6165a3c8b6b71117a7cf40b388eb86dde78fd3eedad8b9772efc3c9e619145f38a87e8270305b908f1799a73b"},
		{"RFC 3394", rfc3394, 32, 128, "a03fca981207dff7c3200cd6685efe8838ab4c30199c71bbda2b9ac8e3b44dec1ac7718c5c59df320cba0bab216cd8018b7c11810019db392bdd50d350ee3655b7421edf184598931d3feb0fd0956cd3107fd6c6d3f866931c36c59c320eef5914b7e82d89c052507820b181deb166741f336e3c1d0f89c763b680fdf734244fa0514484687f7da6"},
		{"RFC 5649", rfc5649, 32, 1, "afb3be6dcd397c06968fdf93aec6adc7"},
		{"RFC 5649", rfc5649, 32, 7, "29083fa078d7ab4278452f1085f8e6ba"},
		{"RFC 5649", rfc5649, 32, 8, "fba2ca6ff7b18ecdca1402c4b4e600ce"},
		{"RFC 5649", rfc5649, 32, 9, "c7533fa6d80a324b893743ad0e7eeac73adb056e13e93a8e"},
		{"RFC 5649", rfc5649, 32, 15, "3f3253868111fa34f737af332940a56c2df973addae17980"},
		{"RFC 5649", rfc5649, 32, 16, "df696d7392002f7c555014fd84c35b399967baa93c95c847"},
		{"RFC 5649", rfc5649, 32, 17, "d8f1d8ab93f2a5a9977da0220e7153982316416a8d62e97c6291a18345722bf3"},
		{"RFC 5649", rfc5649, 32, 20, "26347c3f541155acd96ae41721f8dc32058c51e4a6e8c9a4604278781d0da217"},
		{"RFC 5649", rfc5649, 32, 31, "8f9f4d8f72d40d64851769d4a96d72c0f386512e98c101327248adca092f69f6ee25295f8b3cc207"},
		{"RFC 5649", rfc5649, 32, 100, "f93fdaa7081f093641e409ae004fee0a70d0a00303bfc00398a8512e1eff9550f1bf318e00544fd084ceec430fc9da8d14f82a415a093bd34c19cf66e4be68ba73ae5d4ba3718d09e9d06f4593a54c7ab471362c46f05bd9a1e9cd925f6071f27afa9a09752dbc88119b1473ed3c19f6"},
	} {
		t.Run(fmt.Sprintf("%s, %d bytes with %d", tc.name, tc.data, tc.kek), func(t *testing.T) {
			tc.way.check(t, spread("kek", tc.kek), spread("data", tc.data), unhex(t, tc.want))
		})
	}
}

func TestLengths(t *testing.T) {
	kek := make([]byte, 16)
	for _, n := range []int{0, 1, 8, 15, 17, 31} {
		if _, err := keywrap.Wrap(kek, make([]byte, n)); !errors.Is(err, keywrap.ErrLength) {
			t.Errorf("RFC 3394 wraps %d bytes: %v", n, err)
		}
	}
	if _, err := keywrap.WrapPadded(kek, nil); !errors.Is(err, keywrap.ErrLength) {
		t.Errorf("RFC 5649 wraps nothing: %v", err)
	}
	for name, f := range map[string]func(kek, data []byte) ([]byte, error){"Wrap": keywrap.Wrap, "Unwrap": keywrap.Unwrap,
		"WrapPadded": keywrap.WrapPadded, "UnwrapPadded": keywrap.UnwrapPadded} {
		if _, err := f(make([]byte, 15), make([]byte, 24)); err == nil {
			t.Errorf("%s takes a key of 15 bytes", name)
		}
	}
}
