package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

func dial(ts *testscript.TestScript, bundle string) (*kmipclient.Client, error) {
	dir := ts.MkAbs(bundle)
	return kmipclient.Dial(context.Background(), ts.Getenv("ADDR"), kmipclient.Config{
		CAFile:   filepath.Join(dir, "ca.pem"),
		CertFile: filepath.Join(dir, "cert.pem"),
		KeyFile:  filepath.Join(dir, "key.pem"),
		Timeout:  patience,
		Username: ts.Getenv("KMIP_USER"),
		Password: secret.Own([]byte(ts.Getenv("KMIP_PASSWORD"))),
	})
}

// as [USER PASSWORD] has the commands that follow send this user, or none.
func cmdAs(ts *testscript.TestScript, _ bool, args []string) {
	args = append(args, "", "")
	ts.Setenv("KMIP_USER", args[0])
	ts.Setenv("KMIP_PASSWORD", args[1])
}

// device BUNDLE RESULT FIELD=VALUE… asks for a key to be made with a Device
// credential, and holds the Result Reason against RESULT, "Success" if it works.
func cmdDevice(ts *testscript.TestScript, _ bool, args []string) {
	c, err := dial(ts, args[0])
	ts.Check(err)
	defer func() { _ = c.Close() }()
	credential := &kmip.Credential{Type: kmip14.CredentialTypeDevice}
	fields := map[string]*[]byte{"serial": &credential.DeviceSerialNumber, "password": &credential.Password, "identifier": &credential.DeviceIdentifier,
		"network": &credential.NetworkIdentifier, "machine": &credential.MachineIdentifier, "media": &credential.MediaIdentifier}
	for _, arg := range args[2:] {
		name, value, _ := strings.Cut(arg, "=")
		*fields[name] = []byte(value)
	}
	got := "Success"
	_, err = c.Batch(context.Background(), kmipclient.Options{Credential: credential}, kmipclient.Item{Operation: kmip14.OperationCreate, Request: &kmip.CreateRequest{
		ObjectType: kmip14.ObjectTypeSymmetricKey, Template: kmip.TemplateAttribute{Attributes: []kmip.Attribute{
			kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmAES),
			kmip.IntegerAttribute("Cryptographic Length", 256), kmip.IntegerAttribute("Cryptographic Usage Mask", 12),
		}}}})
	if refusal, ok := errors.AsType[*kmipclient.ResultError](err); ok {
		got = refusal.Reason.String()
	} else {
		ts.Check(err)
	}
	if got != args[1] {
		ts.Fatalf("the result is %s, want %s", got, args[1])
	}
}

// create BUNDLE VAR [NAME] has the server make a key, fetches it, and sets VAR to
// its identifier and VAR_SUM to a hash of it. With "!" the client must be refused.
func cmdCreate(ts *testscript.TestScript, neg bool, args []string) {
	uid, sum, err := createAndGet(ts, args)
	if neg {
		if err == nil {
			ts.Fatalf("the client got a key")
		}
		return
	}
	ts.Check(err)
	ts.Setenv(args[1], uid)
	ts.Setenv(args[1]+"_SUM", sum)
}

func createAndGet(ts *testscript.TestScript, args []string) (uid, sum string, err error) {
	c, err := dial(ts, args[0])
	if err != nil {
		return "", "", err
	}
	defer func() { _ = c.Close() }()
	o := kmipclient.CreateOptions{}
	if len(args) > 2 {
		o.Name = args[2]
	}
	if uid, err = c.Create(context.Background(), o); err != nil {
		return "", "", err
	}
	sum, err = fetch(c, uid)
	return uid, sum, err
}

func fetch(c *kmipclient.Client, uid string) (sum string, err error) {
	key, err := c.Get(context.Background(), uid)
	if err != nil {
		return "", err
	}
	defer key.Clear()
	return fmt.Sprintf("%x", sha256.Sum256(key.Expose())), nil
}

// fetch BUNDLE UID [SUM] gets a key and holds it against its hash; with "!" it
// must be refused.
func cmdFetch(ts *testscript.TestScript, neg bool, args []string) {
	sum, err := func() (string, error) {
		c, err := dial(ts, args[0])
		if err != nil {
			return "", err
		}
		defer func() { _ = c.Close() }()
		return fetch(c, args[1])
	}()
	if neg {
		if err == nil {
			ts.Fatalf("the key was handed out")
		}
		return
	}
	ts.Check(err)
	if sum != args[2] {
		ts.Fatalf("the key has other bytes than before")
	}
}

// retire BUNDLE UID has a client say that the key is compromised.
func cmdRetire(ts *testscript.TestScript, _ bool, args []string) {
	c, err := dial(ts, args[0])
	ts.Check(err)
	defer func() { _ = c.Close() }()
	ts.Check(c.Revoke(context.Background(), args[1], kmip14.RevocationReasonCodeKeyCompromise, "", time.Now().Unix()))
}

// held BUNDLE UID opens a connection, fetches the key on it and keeps it; the
// next call uses it again. With "!" the connection must have been ended.
func cmdHeld(ts *testscript.TestScript, neg bool, args []string) {
	all := ts.Value(serversKey{}).(*servers)
	if all.held == nil {
		c, err := dial(ts, args[0])
		ts.Check(err)
		ts.Defer(func() { _ = c.Close() })
		all.held = c
	}
	_, err := fetch(all.held, args[1])
	if neg == (err == nil) {
		ts.Fatalf("fetching on the connection that is kept: %v", err)
	}
}

// get PATH prints what the metrics port answers, which must be OK; with "!" it
// must not.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	st := askStatus(ts)
	resp, err := http.Get("http://" + st.Metrics + args[0])
	ts.Check(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write(body)
	ts.Check(err)
	if ok := resp.StatusCode == http.StatusOK; ok == neg {
		ts.Fatalf("HTTP status %d\n%s", resp.StatusCode, body)
	}
}

func askStatus(ts *testscript.TestScript) admin.Status {
	c := admin.NewClient(filepath.Join(ts.Getenv("KEYREEVE_DATA"), "admin.sock"))
	defer c.Close()
	st, err := c.Status(context.Background())
	ts.Check(err)
	return st
}

// status 'KEYS CLIENTS READY' holds the server's own words against what is wanted.
func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	st := askStatus(ts)
	if got := fmt.Sprint(st.Objects, " ", st.Clients, " ", st.Ready); got != args[0] {
		ts.Fatalf("keys, clients, ready: %s, want %s (%s)", got, args[0], st.Problem)
	}
}

// https NAME sets HTTPS to the address of a server's admin API.
func cmdHTTPS(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("HTTPS", "https://"+askStatus(ts).AdminListen)
}
