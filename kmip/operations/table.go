package operations

import (
	"github.com/gemalto/kmip-go/kmip14"
)

// rowCount is one more than the last operation of KMIP 1.4.
const rowCount = kmip14.OperationExport + 1

// table is every operation that the server has. What Query answers comes from
// it too.
var table = []Row{}

type requests struct{}

type queryAnswer struct{}

func newQueryAnswer(Config) queryAnswer { return queryAnswer{} }
