package main

import "github.com/keyreeve/keyreeve/internal/program"

// notify tells the service manager how the server is, where one has asked for it.
func (a *app) notify(state string) error { return program.Notify(a.env("NOTIFY_SOCKET"), state) }
