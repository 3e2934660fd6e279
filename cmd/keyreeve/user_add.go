package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/users"
)

const userAddHelp = `Adds a user to the group of a client. Every client of the group may bring the
user's credential, and what is made with it is the user's own.

A user is known by Username (NAME) and Password, or, with any of the --device
flags, by a Device credential: the device must send just the fields that are
given here, with these values, and the password. NAME is then for people.

  keyreeve user add fred --client nas
  keyreeve user add tape --client nas --device-serial 12-345 --device-media m7 \
      --password-file -

` + passwordHelp + `

From a group's first user on, the credentials that its clients send are checked,
and a wrong one is refused; before, they are ignored. A request without one is
still the client's own, unless the client was added with --require-user.`

// deviceFlags are the fields of a Device credential, in the specification's
// order, which has the password among them.
var deviceFlags = []struct {
	flag, short, usage string
	field              func(*admin.Device) *string
}{
	{"device-serial", "serial", "Device Serial Number", func(d *admin.Device) *string { return &d.SerialNumber }},
	{"device-identifier", "identifier", "Device Identifier", func(d *admin.Device) *string { return &d.DeviceIdentifier }},
	{"device-network", "network", "Network Identifier", func(d *admin.Device) *string { return &d.NetworkIdentifier }},
	{"device-machine", "machine", "Machine Identifier", func(d *admin.Device) *string { return &d.MachineIdentifier }},
	{"device-media", "media", "Media Identifier", func(d *admin.Device) *string { return &d.MediaIdentifier }},
}

type userAddOptions struct {
	belonging
	passwordOptions
	device     admin.Device
	noPassword bool
}

func (a *app) userAddCommand(o *options) *cobra.Command {
	var add userAddOptions
	cmd := &cobra.Command{
		Use: "add NAME", Short: "add a user to a client's group", Long: userAddHelp, Args: takes(1, "the user's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.userAdd(cmd, o, add, args[0]) },
	}
	add.belonging.flags(cmd)
	add.passwordOptions.flags(cmd)
	for _, f := range deviceFlags {
		cmd.Flags().StringVar(f.field(&add.device), f.flag, "", "of a device: its "+f.usage)
	}
	cmd.Flags().BoolVar(&add.noPassword, "no-password", false, "of a device: it sends no password")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) userAdd(cmd *cobra.Command, o *options, add userAddOptions, name string) error {
	if err := add.check(cmd); err != nil {
		return err
	}
	if err := users.ValidateName(name); err != nil {
		return refuse("", "%w", err)
	}
	req := admin.AddUserRequest{Name: name, Client: add.client, Group: add.group}
	if add.isDevice() {
		req.Device = &add.device
	}
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return err
	}
	defer server.Close()
	password := secret.New(0)
	if !add.noPassword {
		if password, err = a.newPassword(cmd, add.passwordOptions); err != nil {
			return err
		}
		req.Password = password.Expose()
	}
	defer password.Clear()
	done, err := server.AddUser(cmd.Context(), req)
	if err != nil {
		return err
	}
	return a.tellUser(cmd, o, done, add.passwordOptions, password, "is added")
}

func (add *userAddOptions) isDevice() bool { return add.device != admin.Device{} }

// check finds the combinations of flags that mean nothing.
func (add *userAddOptions) check(cmd *cobra.Command) error {
	switch {
	case add.client == "" && add.group == "":
		return usage(cmd, "say whose user it is: --client NAME, or --group NAME")
	case add.noPassword && !add.isDevice():
		return usage(cmd, "--no-password is for devices: a user is known by name and password")
	case add.noPassword && (add.file != "" || add.generate):
		return usage(cmd, "--no-password excludes the flags that give one")
	}
	return add.belonging.check(cmd)
}

// tellUser says what has been done, and a generated password, this once.
func (a *app) tellUser(cmd *cobra.Command, o *options, done admin.UserChanged, p passwordOptions, password *secret.Bytes, what string) error {
	answer := struct {
		admin.UserChanged
		Password string `json:"password,omitempty"`
	}{UserChanged: done}
	if p.generate {
		answer.Password = string(password.Expose()) // it is printed, so it is no secret from here on
	}
	return a.show(cmd, o, answer, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "user %s of group %s %s; its clients: %s\n", printable(done.User.Name), done.User.Group, what, dash(strings.Join(done.Clients, ", ")))
		if p.generate {
			_, _ = fmt.Fprintf(w, "password: %s\nit is not shown again\n", answer.Password)
		}
		if done.Users == 1 && what == "is added" {
			_, _ = fmt.Fprintf(w, "the group had no users: from now on a credential that these clients send is checked, and a wrong one refused\n")
		}
	})
}
