//go:build long

package adminserver_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

// million is how many keys TestMillionKeys makes.
const million = 1_000_000

// Listing a million keys takes no more for a page at the end than for one at the
// front, and a query that finds nothing is bounded page by page.
func TestMillionKeys(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	for made := 0; made < million; made += 1000 {
		w.addMany(t, made)
	}
	t.Logf("made in %v", time.Since(began))
	for _, tc := range []struct {
		name  string
		query admin.KeyQuery
		found int
	}{
		{"all", admin.KeyQuery{}, million},
		{"pages of 1,000", admin.KeyQuery{Limit: 1000}, million},
		{"the last name", admin.KeyQuery{Name: fmt.Sprint("disk-", million-1)}, 1},
		{"a custom attribute", admin.KeyQuery{Attributes: []string{"x-env=7"}}, million / 1000},
		{"a group that is not there", admin.KeyQuery{Group: "nobody"}, 0},
	} {
		w.walkPages(t, tc.name, tc.query, tc.found)
	}
}

func (w *world) addMany(t *testing.T, from int) {
	t.Helper()
	var batch creation
	for i := range 1000 {
		o := w.object(t)
		o.AddAttribute("Name", nameItem(t, fmt.Sprint("disk-", from+i)))
		o.AddAttribute("x-env", textItem(t, fmt.Sprint(i)))
		batch.objects = append(batch.objects, o)
	}
	must(t, w.store.Do(t.Context(), &keystore.Principal{Client: "lab", Group: "lab"}, true, batch))
}

func (w *world) walkPages(t *testing.T, name string, q admin.KeyQuery, want int) {
	t.Helper()
	var took []time.Duration
	found, began := 0, time.Now()
	for {
		start := time.Now()
		page, err := w.client.Keys(t.Context(), q)
		must(t, err)
		took = append(took, time.Since(start))
		found += len(page.Keys)
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%s: %d found in %v on %d pages; first %v, last full %v, longest %v; heap %d MiB", name, found, time.Since(began).Round(time.Millisecond),
		len(took), took[0], took[max(len(took)-2, 0)], slices.Max(took), mem.HeapAlloc>>20)
	if found != want {
		t.Errorf("%s: found %d, want %d", name, found, want)
	}
	slices.Sort(took)
	if median, longest := took[len(took)/2], took[len(took)-1]; longest > 10*median+time.Second {
		t.Errorf("%s: one page took %v, half of them at most %v", name, longest, median)
	}
}
