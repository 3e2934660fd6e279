package vspheretest

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// RetrieveKmipServerCert reads the certificate off the live server.
func (m *manager) RetrieveKmipServerCert(_ *simulator.Context, req *types.RetrieveKmipServerCert) soap.HasFault {
	v, body := m.vcenter, new(methods.RetrieveKmipServerCertBody)
	var t target
	found := false
	known := v.providers.with(req.KeyProvider.Id, func(c *provider) {
		if s := c.server(req.Server.Name); s != nil {
			t, found = v.target(c, s), true
		}
	})
	defer t.endpoint.Password.Clear()
	switch {
	case !known:
		body.Fault_ = soapFault(noProvider(req.KeyProvider.Id))
		return body
	case !found:
		body.Fault_ = soapFault(invalid("server.name"))
		return body
	}
	leaf, err := v.fetchCertificate(v.ctx, t)
	if err != nil {
		body.Fault_ = soapFault(fail(&types.RuntimeFault{}, "Cannot retrieve the requested certificate: %s", describe(err)))
		return body
	}
	now := v.options.Now()
	trusted := verify(t.trusted, []*x509.Certificate{leaf}, now) == nil
	body.Res = &types.RetrieveKmipServerCertResponse{Returnval: types.CryptoManagerKmipServerCertInfo{
		Certificate: encodeCertificate(leaf), CertInfo: certificateInfo(leaf, now), ClientTrustServer: &trusted,
	}}
	return body
}

// UploadKmipServerCert makes the provider trust a server's certificate, or one
// that issued it.
func (m *manager) UploadKmipServerCert(_ *simulator.Context, req *types.UploadKmipServerCert) soap.HasFault {
	body := new(methods.UploadKmipServerCertBody)
	leaf, err := parseCertificate(req.Certificate)
	if err != nil {
		body.Fault_ = soapFault(invalid("certificate"))
		return body
	}
	known := m.vcenter.providers.with(req.Cluster.Id, func(c *provider) {
		if !holds(c.trusted, leaf) {
			c.trusted = append(c.trusted, leaf)
		}
	})
	if !known {
		body.Fault_ = soapFault(noProvider(req.Cluster.Id))
		return body
	}
	body.Res = new(types.UploadKmipServerCertResponse)
	return body
}

// change changes a provider, or says why it cannot.
func (m *manager) change(id string, fn func(*provider) *failure) (f *failure) {
	if !m.vcenter.providers.with(id, func(c *provider) { f = fn(c) }) {
		return noProvider(id)
	}
	return f
}

// GenerateSelfSignedClientCert makes a certificate that is not in use until it
// is given to UpdateSelfSignedClientCert.
func (m *manager) GenerateSelfSignedClientCert(_ *simulator.Context, req *types.GenerateSelfSignedClientCert) soap.HasFault {
	body := new(methods.GenerateSelfSignedClientCertBody)
	now := m.vcenter.options.Now()
	cert, err := newSelfSigned(subject(req.Request, now), now)
	f := m.change(req.Cluster.Id, func(c *provider) *failure {
		if err != nil {
			return fail(&types.RuntimeFault{}, "Cannot make a certificate: %v", err)
		}
		c.selfSigned = cert
		return nil
	})
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = &types.GenerateSelfSignedClientCertResponse{Returnval: encodeCertificate(cert.Leaf)}
	return body
}

// RetrieveSelfSignedClientCert returns the last one made.
func (m *manager) RetrieveSelfSignedClientCert(_ *simulator.Context, req *types.RetrieveSelfSignedClientCert) soap.HasFault {
	body, text := new(methods.RetrieveSelfSignedClientCertBody), ""
	f := m.change(req.Cluster.Id, func(c *provider) *failure {
		if c.selfSigned == nil {
			return fail(&types.NotFound{}, "No self-signed certificate was made for this provider")
		}
		text = encodeCertificate(c.selfSigned.Leaf)
		return nil
	})
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = &types.RetrieveSelfSignedClientCertResponse{Returnval: text}
	return body
}

// UpdateSelfSignedClientCert puts it to use.
func (m *manager) UpdateSelfSignedClientCert(_ *simulator.Context, req *types.UpdateSelfSignedClientCert) soap.HasFault {
	body := new(methods.UpdateSelfSignedClientCertBody)
	f := m.use(req.Cluster.Id, req.Certificate, func(c *provider) crypto.Signer {
		if c.selfSigned == nil {
			return nil
		}
		return c.selfSigned.PrivateKey.(crypto.Signer)
	})
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = new(types.UpdateSelfSignedClientCertResponse)
	return body
}

// use makes the certificate the provider's identity, if it fits the key.
func (m *manager) use(id, text string, key func(*provider) crypto.Signer) *failure {
	return m.change(id, func(c *provider) *failure {
		cert, err := pair(text, key(c))
		if err != nil {
			return fail(&types.InvalidArgument{InvalidProperty: "certificate"}, "The certificate was not taken: %v", err)
		}
		c.identity = cert
		return nil
	})
}

// GenerateClientCsr makes a key pair and a request; the ones before are gone.
func (m *manager) GenerateClientCsr(_ *simulator.Context, req *types.GenerateClientCsr) soap.HasFault {
	body := new(methods.GenerateClientCsrBody)
	key, csr, err := newRequest(subject(req.Request, m.vcenter.options.Now()))
	f := m.change(req.Cluster.Id, func(c *provider) *failure {
		if err != nil {
			return fail(&types.RuntimeFault{}, "Cannot make a certificate signing request: %v", err)
		}
		c.request, c.csr = key, csr
		return nil
	})
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = &types.GenerateClientCsrResponse{Returnval: string(csr)}
	return body
}

// RetrieveClientCsr returns the last request.
func (m *manager) RetrieveClientCsr(_ *simulator.Context, req *types.RetrieveClientCsr) soap.HasFault {
	body, text := new(methods.RetrieveClientCsrBody), ""
	f := m.change(req.Cluster.Id, func(c *provider) *failure {
		if c.csr == nil {
			return fail(&types.NotFound{}, "No certificate signing request was made for this provider")
		}
		text = string(c.csr)
		return nil
	})
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = &types.RetrieveClientCsrResponse{Returnval: text}
	return body
}

// UpdateKmsSignedCsrClientCert puts what the key server signed to use.
func (m *manager) UpdateKmsSignedCsrClientCert(_ *simulator.Context, req *types.UpdateKmsSignedCsrClientCert) soap.HasFault {
	body := new(methods.UpdateKmsSignedCsrClientCertBody)
	if f := m.use(req.Cluster.Id, req.Certificate, func(c *provider) crypto.Signer { return c.request }); f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = new(types.UpdateKmsSignedCsrClientCertResponse)
	return body
}

// UploadClientCert takes a pair that was made elsewhere.
func (m *manager) UploadClientCert(_ *simulator.Context, req *types.UploadClientCert) soap.HasFault {
	body := new(methods.UploadClientCertBody)
	cert, err := tls.X509KeyPair([]byte(req.Certificate), []byte(req.PrivateKey))
	f := m.change(req.Cluster.Id, func(c *provider) *failure {
		if err != nil {
			return fail(&types.InvalidArgument{InvalidProperty: "certificate"}, "The certificate and private key were not taken")
		}
		c.identity = &cert
		return nil
	})
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = new(types.UploadClientCertResponse)
	return body
}

// RetrieveClientCert returns the certificate in use.
func (m *manager) RetrieveClientCert(_ *simulator.Context, req *types.RetrieveClientCert) soap.HasFault {
	body, text := new(methods.RetrieveClientCertBody), ""
	f := m.change(req.Cluster.Id, func(c *provider) *failure {
		if c.identity == nil {
			return fail(&types.NotFound{}, "The provider has no client certificate")
		}
		text = encodeCertificate(c.identity.Leaf)
		return nil
	})
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = &types.RetrieveClientCertResponse{Returnval: text}
	return body
}
