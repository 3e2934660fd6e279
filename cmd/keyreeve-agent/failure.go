package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/claim"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// The exit codes. They are part of the interface: scripts act on them.
const (
	exitDone = iota
	exitOther
	exitDrift
	exitBlocked
	exitUsage
	exitRefused
	exitNotReached
	exitInUse
)

var exitMeanings = []string{
	exitDone:       "done; everything is as it should be",
	exitOther:      "any other failure",
	exitDrift:      "drift: there is something to do, and it can be done",
	exitBlocked:    "blocked: there is something to do, and a person has to act first",
	exitUsage:      "usage: a wrong command, flag, argument or setting",
	exitRefused:    "refused: credentials or privileges are missing, or somebody said no",
	exitNotReached: "not reached: the key server, vCenter or OVHcloud does not answer",
	exitInUse:      "in use: another agent is active for this vCenter",
}

// A failure is an error that knows its exit code and what to do about it.
type failure = program.Failure

var commands = program.Commands{UsageCode: exitUsage, RefusedCode: exitRefused}

func usage(cmd *cobra.Command, format string, args ...any) error {
	return commands.Usage(cmd, format, args...)
}

// answers are what errors of one kind mean to the person at the terminal.
var answers = []struct {
	is   error
	code int
	hint string
}{
	{errConfig, exitUsage, "deploy/keyreeve-agent.yaml explains every setting"},
	{ovhcloud.ErrNotPossible, exitUsage, ""},
	{ovhcloud.ErrBlocked, exitBlocked, ""},
	{provider.ErrBlocked, exitBlocked, ""},
	{provider.ErrUntrusted, exitRefused, ""},
	{ovhcloud.ErrNoEncryptionRight, exitRefused, ""},
	{session.ErrLogin, exitRefused, ""},
	{claim.ErrPrivilege, exitRefused, "keyreeve-agent roles prints the role for each mode"},
	{claim.ErrLost, exitInUse, "see keyreeve-agent plan for who has it; what vCenter had begun goes on"},
	{session.ErrCertificate, exitRefused, "if vCenter's certificate was changed, put its new fingerprint into vcenter.thumbprint; if not, somebody stands between"},
	{durable.ErrLocked, exitInUse, "stop the other one first"},
	{admin.ErrNotRunning, exitNotReached, "start the key server, or see server.socket or server.url"},
}

// judge returns the exit code and the hint for an error.
func judge(err error) (code int, hint string) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.Code, f.Hint
	}
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return exitRefused, e.Hint
	}
	if e, ok := errors.AsType[*ovhcloud.Error](err); ok {
		return exitRefused, e.Hint
	}
	if e, ok := errors.AsType[*ovhcloud.TaskError](err); ok {
		return exitOther, e.Hint()
	}
	for _, a := range answers {
		if errors.Is(err, a.is) {
			return a.code, a.hint
		}
	}
	return exitOther, ""
}
