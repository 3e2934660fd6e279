package ovhcloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
)

// rounds bounds how often Reconcile looks again. Each begun task takes one.
const rounds = 8

// Reconcile brings the entry to what is desired: it observes, compares and
// acts until there is nothing to do. A Plan that is blocked is an error that
// wraps ErrBlocked. progress may be nil. It returns what was changed, also when
// it ends in an error.
func (s *Service) Reconcile(ctx context.Context, d Desired, progress func(Progress)) (changed []Step, err error) {
	unknown := error(nil)
	for range rounds {
		state, err := s.Observe(ctx)
		if err != nil {
			return changed, errors.Join(err, unknown)
		}
		plan, err := Diff(state, d)
		switch {
		case err != nil:
			return changed, err
		case plan.Blocked != "":
			return changed, fmt.Errorf("%w: %s", ErrBlocked, plan.Blocked)
		case plan.InSync():
			return changed, nil
		}
		done, err := s.Apply(ctx, d, plan, progress)
		changed = append(changed, done...)
		if unknown = nil; errors.Is(err, ErrUnknownOutcome) && ctx.Err() == nil {
			unknown = err // the next look tells
		} else if err != nil {
			return changed, err
		}
	}
	return changed, errors.Join(fmt.Errorf("entry of %s in %s: it is not as desired after %d attempts: somebody else changes it too", d.Address, s.Name, rounds), unknown)
}

// Apply does the steps of a plan in their order, and follows each task to its
// end. After a Wait it returns, so that the caller looks again: Reconcile does.
// It returns what was changed.
func (s *Service) Apply(ctx context.Context, d Desired, p Plan, progress func(Progress)) (changed []Step, err error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	for _, st := range p.Steps {
		switch st.Kind {
		case Wait:
			return changed, s.await(ctx, st, progress)
		case Register:
			err = s.register(ctx, st, progress)
		case Change:
			err = s.change(ctx, st, progress)
		case Remove:
			if err = s.mayRemove(ctx, d); err == nil {
				err = s.remove(ctx, st, progress)
			}
		default:
			err = fmt.Errorf("unknown step %q", st.Kind)
		}
		if err != nil {
			return changed, err
		}
		s.client.cfg.Logger.Info("OVHcloud's entry changed", "service", s.Name, "step", st.String())
		changed = append(changed, st)
	}
	return changed, nil
}

// await polls until the entry, or the option, is at rest.
func (s *Service) await(ctx context.Context, st Step, progress func(Progress)) error {
	err := s.poll(ctx, func(ctx context.Context) (bool, bool, error) {
		if st.Entry == 0 {
			state, err := s.Observe(ctx)
			progress(Progress{Step: st, State: state.Option})
			return state.Option != optionDisabling && state.Option != optionMigrating, false, err
		}
		e, err := s.entry(ctx, st.Entry)
		if isGone(err) {
			return true, false, nil
		}
		progress(Progress{Step: st, State: e.State})
		return !e.moving(), false, err
	})
	if err != nil {
		return fmt.Errorf("waiting, since %s: %w", st.Why, err)
	}
	return nil
}

func (s *Service) register(ctx context.Context, st Step, progress func(Progress)) error {
	do := fmt.Sprintf("registering %s with %s", st.IP, s.Name)
	body := map[string]string{"ip": st.IP.String(), "sslThumbprint": st.Thumbprint}
	if st.Description != "" {
		body["description"] = st.Description
	}
	if err := s.task(ctx, do, http.MethodPost, s.path("/vmEncryption/kms"), body, st, progress); err != nil {
		return err
	}
	return s.verify(ctx, do, st.IP, st.Thumbprint)
}

func (s *Service) change(ctx context.Context, st Step, progress func(Progress)) error {
	do := fmt.Sprintf("changing entry %d (%s) of %s", st.Entry, st.IP, s.Name)
	body := map[string]string{"sslThumbprint": st.Thumbprint}
	if st.Description != "" {
		body["description"] = st.Description
	}
	if err := s.task(ctx, do, http.MethodPost, s.path("/vmEncryption/kms/%d/changeProperties", st.Entry), body, st, progress); err != nil {
		return err
	}
	return s.verify(ctx, do, st.IP, st.Thumbprint)
}

func (s *Service) remove(ctx context.Context, st Step, progress func(Progress)) error {
	do := fmt.Sprintf("removing entry %d (%s) of %s", st.Entry, st.IP, s.Name)
	err := s.task(ctx, do, http.MethodDelete, s.path("/vmEncryption/kms/%d", st.Entry), nil, st, progress)
	if isGone(err) {
		return nil
	}
	return err
}

// task makes a call that begins a task, and follows it.
func (s *Service) task(ctx context.Context, do, method, path string, body any, st Step, progress func(Progress)) error {
	var t Task
	if err := s.client.call(ctx, do, method, path, body, &t); err != nil {
		return err
	}
	if t.ID == 0 {
		return fmt.Errorf("%s: OVHcloud named no task: %w", do, ErrUnknownOutcome)
	}
	return s.Follow(ctx, do, t, func(t Task) {
		progress(Progress{Step: st, Task: t, State: t.State, Percent: t.Progress, Slow: t.State == "fixing"})
	})
}

// verify looks whether a task that is done has done it.
func (s *Service) verify(ctx context.Context, do string, ip netip.Addr, thumbprint string) error {
	state, err := s.Observe(ctx)
	if err != nil {
		return err
	}
	list := state.at(ip)
	if len(list) == 0 {
		return fmt.Errorf("%s: OVHcloud's task is done, and there is no entry", do)
	}
	if e := list[0]; !e.Delivered() || e.Thumbprint != thumbprint {
		return fmt.Errorf("%s: OVHcloud's task is done, and entry %d is %s with thumbprint %s", do, e.ID, e.State, e.Thumbprint)
	}
	return nil
}

// mayRemove looks, at the last moment, whether the new entry is delivered: one
// that failed since the plan was made must not cost the old address too.
func (s *Service) mayRemove(ctx context.Context, d Desired) error {
	w, err := d.check()
	if err != nil {
		return err
	}
	if err := s.verify(ctx, "removing an address that is not used any more", w.ip, w.thumbprint); err != nil {
		return fmt.Errorf("%w; the old entry stays", err)
	}
	return nil
}

// Unregister removes the entries of an address and closes the firewall for it:
// a vCenter behind it then reaches no key at that address. It is done already
// when there is none.
func (s *Service) Unregister(ctx context.Context, addr string, progress func(Progress)) (removed []Entry, err error) {
	ip, err := address(addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotPossible, err)
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	state, err := s.Observe(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range state.at(ip) {
		st := Step{Kind: Remove, Entry: e.ID, IP: e.IP, Thumbprint: e.Thumbprint, Why: "it was asked for"}
		if e.leaving() {
			st.Kind, err = Wait, s.await(ctx, st, progress)
		} else {
			err = s.remove(ctx, st, progress)
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, e)
	}
	return removed, nil
}
