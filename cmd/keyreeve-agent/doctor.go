package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// A finding is what one check found.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
	Hint  string `json:"hint,omitempty"`
}

func (a *app) doctorCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "check that everything is there that the settings need", Args: noArgs,
		Long: `Asks the key server, OVHcloud and vCenter, and says of each whether it answers,
takes the agent's credentials, and grants what the mode needs: missing privileges
are named. It changes nothing.

Exit code 0 says that all checks passed, 1 that one did not.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error { return a.doctor(ctx, o, l) })
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func (a *app) doctor(ctx context.Context, o *options, l *link) error {
	l.insist = 3 // someone waits for the answer, and that nobody answers is one
	var list []finding
	failed := 0
	for _, c := range l.checks() {
		f := c.find(ctx)
		if !f.OK {
			failed++
		}
		list = append(list, f)
	}
	err := a.show(o, list, func(w io.Writer) { findings(w, list) })
	if err == nil && failed > 0 {
		err = fmt.Errorf("checks that failed: %d of %d", failed, len(list))
	}
	return err
}

// findings prints them.
func findings(w io.Writer, list []finding) {
	for _, f := range list {
		program.Line(w, map[bool]string{true: "ok", false: "FAILED"}[f.OK], f.Check, f.Found)
		if f.Hint != "" {
			program.Line(w, "", "", "hint: "+f.Hint)
		}
	}
}

type check struct {
	name string
	do   func(context.Context) (string, error)
}

func (c check) find(ctx context.Context) finding {
	found, err := c.do(ctx)
	if err == nil {
		return finding{Check: c.name, OK: true, Found: found}
	}
	_, hint := judge(err)
	return finding{Check: c.name, Found: err.Error(), Hint: hint}
}

// checks are those that the settings ask for.
func (l *link) checks() []check {
	list := []check{{"key server", l.checkServer}, {"certificate", l.checkCertificate}}
	if l.config.Server.URL != "" {
		list = append(list, check{"the agent's own", l.checkOwn})
	}
	if l.config.OVHcloud != nil {
		list = append(list, check{"OVHcloud", l.checkService})
	}
	if l.config.VCenter != nil {
		list = append(list, check{"vCenter", l.checkVCenter}, check{"privileges", l.checkPrivileges})
	}
	if l.config.VCenter != nil && l.config.OVHcloud != nil {
		list = append(list, check{"encryption right", l.checkRight})
	}
	return list
}

func (l *link) checkServer(ctx context.Context) (string, error) {
	server, err := l.keyServer()
	if err != nil {
		return "", err
	}
	status, err := server.Status(ctx)
	if err == nil && !status.Ready {
		err = fmt.Errorf("the key server is not ready: %s", status.Problem)
	}
	return "keyreeve " + status.Version, err
}

// ownEnds is how long before the end of the certificate that the agent shows to
// the key server doctor begins to warn: nobody renews an administrator's.
const ownEnds = 21 * 24 * time.Hour

func (l *link) checkOwn(context.Context) (string, error) {
	if _, err := l.keyServer(); err != nil {
		return "", err
	}
	end := l.own.NotAfter
	if l.app.now().Before(end.Add(-ownEnds)) {
		return "certificate until " + program.Date(end), nil
	}
	return "", &failure{Code: exitRefused, Err: fmt.Errorf("the certificate that the agent shows to the key server ends at %s", program.Date(end)),
		Hint: "keyreeve admin revoke NAME, then keyreeve admin add NAME --role agent --out DIR, on the key server; put that folder in the place of server.bundle and reload the agent"}
}

func (l *link) checkCertificate(ctx context.Context) (string, error) {
	leaf, err := l.certificate(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("SHA-256 %s, SHA-1 %s, until %s", certs.SHA256(leaf), certs.SHA1(leaf), program.Date(leaf.NotAfter)), nil
}

func (l *link) checkService(ctx context.Context) (string, error) {
	state, err := l.atOVH(ctx)
	return fmt.Sprintf("service %s, VM encryption %s, entries: %d", state.Service, state.Option, len(state.Entries)), err
}

func (l *link) checkVCenter(ctx context.Context) (string, error) {
	s, err := l.vCenter(ctx)
	if err != nil {
		return "", err
	}
	return s.About() + ", instance " + s.InstanceUUID(), nil
}

func (l *link) checkPrivileges(ctx context.Context) (string, error) {
	s, err := l.vCenter(ctx)
	if err != nil {
		return "", err
	}
	return l.privileges(ctx, s)
}

// privileges names those that the mode needs and the account does not have.
func (l *link) privileges(ctx context.Context, s *session.Session) (string, error) {
	missing, err := s.Missing(ctx, l.config.Mode)
	missing = slices.DeleteFunc(missing, l.config.optional)
	if err == nil && len(missing) > 0 {
		err = &failure{Code: exitRefused, Err: fmt.Errorf("mode %s needs privileges that %s does not have: %s", l.config.Mode, l.config.VCenter.User, strings.Join(missing, ", ")),
			Hint: fmt.Sprintf("keyreeve-agent roles --mode %s prints the role", l.config.Mode)}
	}
	return fmt.Sprintf("all that mode %s needs", l.config.Mode), err
}

func (l *link) checkRight(ctx context.Context) (string, error) {
	service, err := l.service(ctx)
	if err != nil {
		return "", err
	}
	err = service.EncryptionRight(ctx, l.config.VCenter.User)
	if errors.Is(err, ovhcloud.ErrRightUnknown) {
		return "warning: " + err.Error(), nil // many do well without this API right, or with users of their own directory
	}
	return l.config.VCenter.User + " may manage encryption", err
}
