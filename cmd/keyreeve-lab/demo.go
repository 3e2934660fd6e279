package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// demo walks through the vendor's guide once. It succeeds only if every step's
// proof holds.
func (a *app) demo(ctx context.Context, f *flags) (err error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	began := time.Now()
	w, err := world(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	g, err := vspheretest.NewGuide(ctx, w, w.VCenters[0])
	if err != nil {
		return err
	}
	a.print("a real keyreeve server at %s, a vCenter that speaks KMIP to it, OVHcloud's firewall between them\n\n", w.KMS.Addr())
	for i, s := range append(g.Trust(), g.Encrypt()...) {
		proof, err := s.Do(ctx)
		if err != nil {
			a.print("%2d  %s\n    FAILED: %v\n", i+1, s.Title, err)
			return fmt.Errorf("step %d, %s: %w", i+1, s.Title, err)
		}
		a.print("%2d  %s\n    %s\n", i+1, s.Title, proof)
	}
	a.print("\nall of it is true; it took %.1f s\n", time.Since(began).Seconds())
	return g.Close(ctx)
}
