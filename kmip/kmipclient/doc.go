// Package kmipclient is a small KMIP client for versions 1.0 to 1.4: for tests,
// the lab, health checks and the agent's canary.
//
// One [Client] is one TLS connection and does one request at a time, as KMIP
// peers expect (specification 1.4, section 8.1.1 of the profiles: TTLV over
// mutual TLS). It does not reconnect and does not retry: whether a request that
// got no answer was carried out is for the caller to find out.
//
// The server is not trusted with our memory: an answer is read up to a limit
// and passes ttlv.Check before anything looks at it. Key material comes back in
// secret.Bytes, and every buffer that held a request or an answer is cleared
// after use. Nothing is logged here, and errors hold no values from messages
// save the server's Result Message.
package kmipclient
