package main

import (
	"errors"
	"net"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
)

// adminClient returns a client of the server that --server names, or else of the
// one that serves the data folder.
func (a *app) adminClient(cmd *cobra.Command, o *options) (*admin.Client, error) {
	if o.isRemote(a) {
		return a.remoteClient(cmd, o)
	}
	data, err := a.dataFolder(cmd, o)
	if err != nil {
		return nil, err
	}
	socket := o.socket
	if socket == "" {
		socket = a.env(config.Env("admin_socket"))
	}
	if socket == "" {
		if err := needStore(data); err != nil {
			return nil, err
		}
		socket = folder(data).socket()
	}
	return admin.NewClient(socket), nil
}

// isRemote tells whether another machine's server is meant. A flag that names
// this machine's wins over the environment.
func (o *options) isRemote(a *app) bool {
	return o.server != "" || o.data == "" && o.socket == "" && a.env("KEYREEVE_SERVER") != ""
}

func (a *app) remoteClient(cmd *cobra.Command, o *options) (*admin.Client, error) {
	server, bundle := o.server, o.bundle
	if server == "" {
		server = a.env("KEYREEVE_SERVER")
	}
	if bundle == "" {
		bundle = a.env("KEYREEVE_BUNDLE")
	}
	if o.data != "" || o.socket != "" {
		return nil, usage(cmd, "--server is another machine: leave --data and --socket out")
	}
	if bundle == "" {
		return nil, usage(cmd, "--server needs --bundle: the folder that keyreeve admin add made")
	}
	address, err := serverAddress(server)
	if err != nil {
		return nil, usage(cmd, "--server: %w", err)
	}
	tls, err := certs.ClientConfig(bundle)
	if err != nil {
		return nil, refuse("--bundle is a folder with ca.pem, cert.pem and key.pem", "%w", err)
	}
	return admin.NewTLSClient(address, tls), nil
}

var errServerAddress = errors.New("want https://HOST:PORT")

// serverAddress takes https://HOST:PORT and nothing after it.
func serverAddress(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", errServerAddress
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" {
		return "", errServerAddress
	}
	return u.Host, nil
}
