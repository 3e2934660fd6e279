package operations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
)

func allFunctions(v kmip.Version) *kmip.QueryRequest {
	in := new(kmip.QueryRequest)
	for f := kmip14.QueryFunctionQueryOperations; f <= kmip14.QueryFunctionQueryClientRegistrationMethods; f++ {
		if kmip.QueryFunctionIn(f, v) {
			in.Functions = append(in.Functions, f)
		}
	}
	return in
}

// What Query says is done is what is done: the table, no more and no less.
func TestQueryListsTheTable(t *testing.T) {
	r := newRig(t)
	taken := []kmip14.ObjectType{kmip14.ObjectTypeSymmetricKey, kmip14.ObjectTypeTemplate, kmip14.ObjectTypeSecretData, kmip14.ObjectTypeOpaqueObject}
	for _, v := range versions {
		var out kmip.QueryResponse
		r.ok(v, kmip14.OperationQuery, allFunctions(v), &out)
		var want []kmip14.Operation
		for op := kmip14.Operation(1); op <= 0xff; op++ {
			if row := r.ops.Row(op); row != nil && v.AtLeast(row.Since) {
				want = append(want, op)
			}
		}
		if diff := cmp.Diff(want, out.Operations); diff != "" {
			t.Errorf("%v: operations (-table +Query):\n%s", v, diff)
		}
		if diff := cmp.Diff(taken, out.ObjectTypes); diff != "" {
			t.Errorf("%v: object types:\n%s", v, diff)
		}
		if string(out.VendorIdentification) != "Keyreeve" || !out.ServerInformation.IsZero() {
			t.Errorf("%v: vendor %q, information %s", v, out.VendorIdentification, show(out.ServerInformation))
		}
	}
	if r.ops.Row(0) != nil || r.ops.Row(0xffffffff) != nil || r.ops.Row(kmip14.OperationExport+1) != nil {
		t.Error("there is a row for what is no operation")
	}
}

func TestQueryAnswersWhatIsAsked(t *testing.T) {
	r := newRig(t, func(c *operations.Config) {
		c.VendorIdentification = "ACME"
		c.ServerInformation = []string{"keyreeve 1.2.3"}
		c.Profiles = []kmip14.ProfileName{kmip14.ProfileName(1)}
	})
	for _, tc := range []struct {
		function kmip14.QueryFunction
		want     string
	}{
		{kmip14.QueryFunctionQueryObjects, "types"},
		{kmip14.QueryFunctionQueryServerInformation, "vendor information"},
		{kmip14.QueryFunctionQueryApplicationNamespaces, ""},
		{kmip14.QueryFunctionQueryExtensionList, "extensions"},
		{kmip14.QueryFunctionQueryExtensionMap, "extensions map"},
		{kmip14.QueryFunctionQueryAttestationTypes, ""},
		{kmip14.QueryFunctionQueryRNGs, "rngs"},
		{kmip14.QueryFunctionQueryValidations, ""},
		{kmip14.QueryFunctionQueryProfiles, "profiles"},
		{kmip14.QueryFunctionQueryCapabilities, "capabilities"},
		{kmip14.QueryFunctionQueryClientRegistrationMethods, "methods"},
		{kmip14.QueryFunctionQueryOperations, "operations"},
	} {
		var out kmip.QueryResponse
		r.ok(kmip.V1_4, kmip14.OperationQuery, &kmip.QueryRequest{Functions: []kmip14.QueryFunction{tc.function, tc.function}}, &out)
		var got []string
		for _, p := range []struct {
			name string
			has  bool
		}{
			{"operations", len(out.Operations) > 0}, {"types", len(out.ObjectTypes) > 0}, {"vendor", string(out.VendorIdentification) == "ACME"},
			{"information", strings.Contains(string(out.ServerInformation.Value()), "keyreeve 1.2.3")},
			{"namespaces", len(out.ApplicationNamespaces) > 0}, {"extensions", len(out.Extensions) == 1 && string(out.Extensions[0].Name) == "KEYREEVE INFORMATION"},
			{"map", len(out.Extensions) == 1 && out.Extensions[0].Tag == 0x540001 && out.Extensions[0].Type == 7}, {"attestation", len(out.AttestationTypes) > 0},
			{"rngs", len(out.RNGs) == 1}, {"profiles", len(out.Profiles) == 1}, {"validations", len(out.Validations) > 0},
			{"capabilities", len(out.Capabilities) == 1}, {"methods", len(out.RegistrationMethods) > 0},
		} {
			if p.has {
				got = append(got, p.name)
			}
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("function %d (-want +got):\n%s", tc.function, diff)
		}
	}
}

func TestQueryRefusals(t *testing.T) {
	r := newRig(t)
	for name, in := range map[string]*kmip.QueryRequest{
		"no function":                {},
		"a function of no version":   {Functions: []kmip14.QueryFunction{99}},
		"a function of a later time": {Functions: []kmip14.QueryFunction{kmip14.QueryFunctionQueryRNGs}},
	} {
		if a := r.do(kmip.V1_2, kmip14.OperationQuery, in); a.err == nil {
			t.Errorf("%s is answered", name)
		}
	}
}

// The versions that both sides have, best first, all if the client lists none.
func TestDiscoverVersions(t *testing.T) {
	r := newRig(t)
	v := func(list ...kmip.Version) []kmip.Version { return list }
	for _, tc := range []struct{ asked, want []kmip.Version }{
		{nil, v(kmip.V1_4, kmip.V1_3, kmip.V1_2, kmip.V1_1, kmip.V1_0)},
		{v(kmip.V1_1), v(kmip.V1_1)},
		{v(kmip.V1_0, kmip.V1_2), v(kmip.V1_2, kmip.V1_0)},
		{v(kmip.Version{Major: 2}, kmip.V1_3, kmip.V1_3, kmip.Version{Major: 3, Minor: 7}), v(kmip.V1_3)},
		{v(kmip.Version{Major: 2}), nil},
	} {
		var out kmip.DiscoverVersionsResponse
		r.ok(kmip.V1_1, kmip14.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{Versions: tc.asked}, &out)
		if diff := cmp.Diff(tc.want, out.Versions); len(tc.want)+len(out.Versions) > 0 && diff != "" {
			t.Errorf("asked %v (-want +got):\n%s", tc.asked, diff)
		}
	}
}

// Clients take Query and Discover Versions for a sign that keys can be read.
func TestUnhealthyStoreFailsQueryAndDiscoverVersions(t *testing.T) {
	var sick error
	r := newRig(t, func(c *operations.Config) { c.Healthy = func() error { return sick } })
	for _, op := range []kmip14.Operation{kmip14.OperationQuery, kmip14.OperationDiscoverVersions} {
		sick = nil
		if a := r.do(kmip.V1_1, op, requests[op](nil)); a.err != nil {
			t.Errorf("%v of a healthy store: %v", op, a.err)
		}
		sick = errors.New("the canary at /var/lib does not sing")
		a := r.do(kmip.V1_1, op, requests[op](nil))
		if a.reason != kmip14.ResultReasonGeneralFailure || a.text != "" || !errors.Is(a.err, sick) {
			t.Errorf("%v: %v %q %v, want General Failure without a text", op, a.reason, a.text, a.err)
		}
	}
}

// Query, Discover Versions, Cancel and Poll are answered without a transaction.
func TestOperationsWithoutTheStore(t *testing.T) {
	r := newRig(t)
	for op := kmip14.Operation(1); op <= kmip14.OperationExport; op++ {
		row := r.ops.Row(op)
		if row == nil {
			continue
		}
		var want bool
		switch op {
		case kmip14.OperationQuery, kmip14.OperationDiscoverVersions, kmip14.OperationCancel, kmip14.OperationPoll:
		default:
			want = true
		}
		if row.NeedsStore() != want || row.Changes() && !want || row.Operation != op || row.Op.Name == "" {
			t.Errorf("the row of %v: needs the store %v, changes %v, %q", op, row.NeedsStore(), row.Changes(), row.Op.Name)
		}
		if urgent := op == kmip14.OperationRevoke || op == kmip14.OperationDestroy; row.Op.Urgent != urgent {
			t.Errorf("the row of %v: urgent %v", op, row.Op.Urgent)
		}
		if want || op == kmip14.OperationPoll { // there is nothing to poll
			continue
		}
		m, _ := r.prepare(kmip.V1_1, ask{op: op, payload: requests[op](nil)})
		if err := m.items[0].Apply(nil); err != nil {
			t.Errorf("%v without a transaction: %v", op, err)
		}
	}
}
