package provider

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/secret"
)

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// trustClient has the key server trust vCenter. The order is such that a kill
// at any point leaves what worked before working: the key server takes the new
// certificate beside the old one, and only then does vCenter use it.
func (m *Manager) trustClient(ctx context.Context, d Desired, w Provider, renew bool) error {
	k := m.kms("")
	if k == nil {
		return errors.New("there is no admin API to enrol vCenter with: name the key server's")
	}
	e := enrolment{m, k, w, types.KeyProviderId{Id: w.Name}, renew}
	switch w.Client.Method {
	case "", CSR:
		return e.byCSR(ctx)
	case SelfSigned:
		return e.bySelfSigned(ctx, d, renew)
	case ForeignCA:
		return e.byCA(ctx)
	case Pair:
		return e.byPair(ctx)
	}
	return fmt.Errorf("unknown method %q", w.Client.Method)
}

type enrolment struct {
	*Manager
	kms     KMS
	w       Provider
	cluster types.KeyProviderId
	anew    bool // whatever vCenter has
}

// byCSR has vCenter make a key and the key server sign the request for it.
// Each request overwrites vCenter's last one, so that one that was begun and
// not finished is begun again.
func (e enrolment) byCSR(ctx context.Context) error {
	made, err := methods.GenerateClientCsr(ctx, e.cfg.VIM, &types.GenerateClientCsr{This: e.keys.Reference(), Cluster: e.cluster, Request: e.w.Client.Request})
	if err != nil {
		return e.refused("signing request", err)
	}
	signed, err := e.enrol(ctx, admin.EnrolRequest{Kind: admin.KindCSR, CSR: []byte(made.Returnval)})
	if err != nil {
		return err
	}
	_, err = methods.UpdateKmsSignedCsrClientCert(ctx, e.cfg.VIM, &types.UpdateKmsSignedCsrClientCert{This: e.keys.Reference(), Cluster: e.cluster, Certificate: string(signed.Certificate)})
	if err != nil {
		return fmt.Errorf("giving vCenter its signed certificate: %w", err)
	}
	return nil
}

// bySelfSigned pins vCenter's own certificate. One that vCenter has made
// already is taken, unless it is to be renewed or ends soon.
func (e enrolment) bySelfSigned(ctx context.Context, d Desired, renew bool) error {
	text, err := e.selfSigned(ctx, d, renew)
	if err != nil {
		return err
	}
	if _, err := e.enrol(ctx, admin.EnrolRequest{Kind: admin.KindPinned, Certificate: []byte(text)}); err != nil {
		return err
	}
	_, err = methods.UpdateSelfSignedClientCert(ctx, e.cfg.VIM, &types.UpdateSelfSignedClientCert{This: e.keys.Reference(), Cluster: e.cluster, Certificate: text})
	if err != nil {
		return fmt.Errorf("having vCenter use its certificate: %w", err)
	}
	return nil
}

func (e enrolment) selfSigned(ctx context.Context, d Desired, renew bool) (string, error) {
	if !renew {
		res, err := methods.RetrieveSelfSignedClientCert(ctx, e.cfg.VIM, &types.RetrieveSelfSignedClientCert{This: e.keys.Reference(), Cluster: e.cluster})
		if err == nil && e.fresh(res.Returnval, d) {
			return res.Returnval, nil
		}
		var none *types.NotFound
		if _, known := fault.As(err, &none); err != nil && !known && ctx.Err() != nil {
			return "", err
		}
	}
	res, err := methods.GenerateSelfSignedClientCert(ctx, e.cfg.VIM, &types.GenerateSelfSignedClientCert{This: e.keys.Reference(), Cluster: e.cluster, Request: e.w.Client.Request})
	if err != nil {
		return "", e.refused("certificate", err)
	}
	return res.Returnval, nil
}

// refused tells what an old vCenter's fault does not: that it takes no subject.
func (e enrolment) refused(what string, err error) error {
	if e.w.Client.Request != nil {
		return fmt.Errorf("having vCenter make a %s: %w (only vCenter 8.0.1 and later take a subject for it, and this is %s: leave the subject out)", what, err, clean(e.cfg.VIM.ServiceContent.About.Version))
	}
	return fmt.Errorf("having vCenter make a %s: %w", what, err)
}

func (e enrolment) fresh(text string, d Desired) bool {
	c, err := certs.ParseCertificate([]byte(text))
	return err == nil && e.cfg.Now().Add(d.renewBefore()).Before(c.NotAfter)
}

// byCA has the key server trust the CA that issued vCenter's certificate, with
// one exact subject. vCenter must have that certificate already.
func (e enrolment) byCA(ctx context.Context) error {
	_, err := e.enrol(ctx, admin.EnrolRequest{Kind: string(certs.KindForeignCA), CA: e.w.Client.CA, Subject: e.w.Client.Subject})
	if err != nil {
		return err
	}
	_, err = methods.RetrieveClientCert(ctx, e.cfg.VIM, &types.RetrieveClientCert{This: e.keys.Reference(), Cluster: e.cluster})
	if err != nil {
		return fmt.Errorf("the key server takes certificates of that CA, and vCenter has none for this provider: upload one with the subject %s: %w", e.w.Client.Subject, err)
	}
	return nil
}

// byPair makes a key and a certificate here and uploads both. The key is in
// vCenter's hands, in the request, and for a moment here.
func (e enrolment) byPair(ctx context.Context) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048) // what every vCenter takes
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	signed, err := e.enrol(ctx, admin.EnrolRequest{Kind: admin.KindIssued, CSR: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})})
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer secret.Clear(der)
	_, err = methods.UploadClientCert(ctx, e.cfg.VIM, &types.UploadClientCert{
		This: e.keys.Reference(), Cluster: e.cluster, Certificate: string(signed.Certificate), PrivateKey: encode("PRIVATE KEY", der),
	})
	if err != nil {
		return fmt.Errorf("uploading certificate and key to vCenter: %w", err)
	}
	return nil
}

// enrol adds the client, or renews it if it is there. An agent's role may only
// renew, and only a client that an operator has marked for it.
func (e enrolment) enrol(ctx context.Context, req admin.EnrolRequest) (admin.Enrolled, error) {
	name := e.w.Client.Client
	have, err := e.kms.Client(ctx, name)
	answer, refused := errors.AsType[*admin.Error](err)
	switch {
	case refused && answer.Code == admin.CodeNotFound:
		req.Name, req.Group, req.AgentRenewable = name, e.w.Client.Group, req.Kind == admin.KindCSR || req.Kind == admin.KindIssued
		out, err := e.kms.Enrol(ctx, req)
		return out, said(fmt.Sprintf("enrolling client %s with the key server", name), err)
	case err != nil:
		return admin.Enrolled{}, said(fmt.Sprintf("asking the key server for client %s", name), err)
	case have.Revoked != nil:
		return admin.Enrolled{}, fmt.Errorf("client %s was revoked at %s (%s): if that was a mistake, an operator adds it again", name, date(have.Revoked.Time), clean(have.Revoked.Reason))
	case e.w.Client.Group != "" && have.Group != e.w.Client.Group:
		return admin.Enrolled{}, fmt.Errorf("client %s has the group %s in the key server, and not %s: its keys would not be found", name, clean(have.Group), e.w.Client.Group)
	}
	return e.renew(ctx, have, req)
}

func (e enrolment) renew(ctx context.Context, have admin.ClientRecord, req admin.EnrolRequest) (admin.Enrolled, error) {
	if !e.anew && e.inUse(ctx, have) {
		return admin.Enrolled{}, fmt.Errorf("the key server has the certificate that vCenter shows in the record of client %s, and does not take vCenter all the same: look whether the server's user and password are right", have.Name)
	}
	if req.Kind == string(certs.KindForeignCA) {
		if have.Kind != req.Kind || !sameSubject(have.Subject, req.Subject) || !sameCA(have.CA, req.CA) {
			return admin.Enrolled{}, fmt.Errorf("client %s is enrolled otherwise (%s, subject %q): an operator revokes it and adds it again", have.Name, clean(have.Kind), clean(have.Subject))
		}
		return admin.Enrolled{Client: have}, nil
	}
	if req.Kind == admin.KindPinned && holds(have, req.Certificate) {
		return admin.Enrolled{Client: have}, nil
	}
	out, err := e.kms.Renew(ctx, have.Name, admin.RenewRequest{Kind: req.Kind, CSR: req.CSR, Certificate: req.Certificate})
	return out, said(fmt.Sprintf("renewing client %s of the key server", have.Name), err)
}

// inUse tells that vCenter shows a certificate of the record: another one would
// be refused as well, and each pass would make one more.
func (e enrolment) inUse(ctx context.Context, have admin.ClientRecord) bool {
	res, err := methods.RetrieveClientCert(ctx, e.cfg.VIM, &types.RetrieveClientCert{This: e.keys.Reference(), Cluster: e.cluster})
	if err != nil || !holds(have, []byte(res.Returnval)) {
		return false
	}
	c, err := certs.ParseCertificate([]byte(res.Returnval))
	return err == nil && e.cfg.Now().Before(c.NotAfter)
}

func sameSubject(a, b string) bool {
	x, errX := certs.ParseDN(a)
	y, errY := certs.ParseDN(b)
	return errX == nil && errY == nil && x.Equal(y)
}

func sameCA(have *admin.Thumbprints, ca []byte) bool {
	c, err := certs.ParseCertificate(bytes.TrimSpace(ca))
	return err == nil && have != nil && have.SHA256 == certs.SHA256(c)
}

// holds tells that the record has the certificate already.
func holds(have admin.ClientRecord, text []byte) bool {
	c, err := certs.ParseCertificate(text)
	return err == nil && slices.ContainsFunc(have.Certificates, func(h admin.Certificate) bool { return h.SHA256 == certs.SHA256(c) && h.Ends.IsZero() })
}

// said adds what was tried, and the hint that the key server gave.
func said(do string, err error) error {
	if e, ok := errors.AsType[*admin.Error](err); ok && e.Hint != "" {
		return fmt.Errorf("%s: %w (%s)", do, err, clean(e.Hint))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", do, err)
	}
	return nil
}
