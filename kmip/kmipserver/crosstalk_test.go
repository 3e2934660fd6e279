package kmipserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// TestNoCrossTalk: buffers and works are shared by all connections, one after
// the other; a connection must only ever see its own key in them, and nobody
// another group's.
func TestNoCrossTalk(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	const clients, rounds = 8, 25
	keys := make([]string, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			key, err := useOwnKey(server, fmt.Sprintf("client%d", i), rounds)
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for i, k := range keys {
		if j, ok := seen[k]; ok {
			t.Errorf("clients %d and %d have the same key", i, j)
		}
		seen[k] = i
	}
}

// useOwnKey creates a key and fetches it again and again, between requests of
// other sizes, and returns its bytes.
func useOwnKey(server *kmiptest.Server, client string, rounds int) (string, error) {
	c, err := server.Dial(context.Background(), client)
	if err != nil {
		return "", err
	}
	defer c.Close()
	create, err := transcript.ParseMessage(createText, 1)
	if err != nil {
		return "", err
	}
	get, err := transcript.ParseMessage(getText, 1)
	if err != nil {
		return "", err
	}
	made, err := roundTrip(c, create, nil)
	if err != nil {
		return "", err
	}
	id := bytes.Clone(made.Find(kmip14.TagUniqueIdentifier).Value())
	var key []byte
	for range rounds {
		payload, err := roundTrip(c, get, transcript.Values{"id": id})
		if err != nil {
			return "", err
		}
		got := payload.Find(kmip14.TagSymmetricKey).Find(kmip14.TagKeyBlock).Find(kmip14.TagKeyValue).Find(kmip14.TagKeyMaterial).Value()
		if key == nil {
			key = bytes.Clone(got)
		}
		if len(got) != 32 || !bytes.Equal(got, key) || !bytes.Equal(payload.Find(kmip14.TagUniqueIdentifier).Value(), id) {
			return "", fmt.Errorf("the key of %s changed under way", id)
		}
		if _, err := c.Write(discover()); err != nil {
			return "", err
		}
		if _, err := readAnswer(c); err != nil {
			return "", err
		}
	}
	return string(key), nil
}

func roundTrip(c net.Conn, m *transcript.Message, v transcript.Values) (ttlv.Item, error) {
	b, err := m.Encode(v)
	if err != nil {
		return ttlv.Item{}, err
	}
	if _, err := c.Write(b); err != nil {
		return ttlv.Item{}, err
	}
	answer, err := readAnswer(c)
	if err != nil {
		return ttlv.Item{}, err
	}
	var r kmip.ResponseMessage
	if err := kmip.ParseResponse(answer, &r); err != nil {
		return ttlv.Item{}, err
	}
	if it := r.Items[0]; it.Status != kmip14.ResultStatusSuccess {
		return ttlv.Item{}, fmt.Errorf("%v: %s", it.Reason, it.Message)
	}
	return r.Items[0].Payload, nil
}

func readAnswer(r io.Reader) ([]byte, error) {
	b := make([]byte, ttlv.HeaderSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	_, _, n := ttlv.Header(b)
	b = append(b, make([]byte, n)...)
	_, err := io.ReadFull(r, b[ttlv.HeaderSize:])
	return b, err
}
