package kmipserver

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// authenticate finds out which user the message is from (section 6.6). A
// message that only asks what the server can do needs no credential, as that
// section says; one that it has all the same must be right.
func (w *work) authenticate(ctx context.Context) error {
	credentials := w.request.Header.Credentials
	if w.server.authenticate == nil || len(credentials) == 0 && w.onlyAsksTheServer() {
		return nil
	}
	user, err := w.server.authenticate(ctx, w.principal, credentials)
	if user != "" {
		w.user = *w.principal
		w.user.User = user
		w.principal = &w.user
	}
	return err
}

// onlyAsksTheServer tells whether every item of the message is about the server
// itself, and none about objects or about what was asked before.
func (w *work) onlyAsksTheServer() bool {
	for i := range w.request.Items {
		switch w.request.Items[i].Operation {
		case kmip14.OperationQuery, kmip14.OperationDiscoverVersions:
		default:
			return false
		}
	}
	return true
}

// notAuthenticated answers a message that is nobody's: like one that cannot be
// read, with one item and no Operation, since none was begun. The answer is the
// same whatever was wrong, and the journal has the difference.
func (w *work) notAuthenticated(ctx context.Context, err error) []byte {
	s := w.server
	if failed := s.operations.Refuse(ctx, w.principal, err.Error()); failed != nil {
		s.log.error(logKey{kind: "journal"}, "a refused credential was not recorded", slog.String("error", failed.Error()))
	}
	s.metrics.operation(0, outcomeDenied)
	s.log.warn(logKey{address: addressIn(w.principal.Remote), kind: "credential"}, "a request's credential was refused",
		slog.String("client", w.principal.Client), slog.String("user", w.principal.User),
		slog.String("remote", w.principal.Remote), slog.String("reason", err.Error()))
	w.begin(s.now().Unix())
	w.writer.FailItem(0, nil, kmip.NewError(kmip14.ResultReasonAuthenticationNotSuccessful, "the credential is not accepted"))
	return w.writer.End()
}

// addressIn is the address of a peer, by which its lines are counted.
func addressIn(remote string) netip.Addr {
	a, _ := netip.ParseAddrPort(remote)
	return a.Addr().Unmap()
}
