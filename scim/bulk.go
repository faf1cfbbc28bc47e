package scim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sallyport/scim/internal/schema"
)

const (
	bulkResponseURN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
	bulkPrefix      = "bulkId:"

	maxBulk = 1000 // operations of one request
)

// bulkOperation is one of a /Bulk request (RFC 7644 §3.7).
type bulkOperation struct {
	method, path, bulkID, version string
	data                          map[string]any
	references                    []string       // the bulkIds in path and data
	result                        map[string]any // nil until it was carried out
}

// bulk carries many operations out, each by itself, in the order that their
// references to one another ask for.
func (s *Server) bulk(req *request) (any, error) {
	body, err := req.body()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, bulkTooLarge("The request is too large")
	case err != nil:
		return nil, err
	}
	b, err := parseBulk(s, req, body)
	if err != nil {
		return nil, err
	}
	b.run()
	results := []any{}
	for _, o := range b.operations {
		if o.result != nil {
			results = append(results, o.result)
		}
	}
	req.changes = []string{fmt.Sprintf("%d operations, %d refused", len(results), b.rejected)}
	return map[string]any{"schemas": []string{bulkResponseURN}, "Operations": results}, nil
}

// bulkRun is a /Bulk request under way.
type bulkRun struct {
	server     *Server
	request    *request
	operations []*bulkOperation
	created    map[string]string // bulkId → id
	pending    map[string]bool   // bulkIds of creations that may still succeed
	rejected   int
	limit      int // failOnErrors; 0: none
}

func parseBulk(s *Server, req *request, body map[string]any) (*bulkRun, error) {
	list, err := schema.OperationList(body)
	if err != nil {
		return nil, err
	}
	if len(list) > maxBulk {
		return nil, bulkTooLarge(fmt.Sprintf("There are %d operations", len(list)))
	}
	b := &bulkRun{server: s, request: req, created: map[string]string{}, pending: map[string]bool{}}
	if v, has := schema.Member(body, "failOnErrors"); has && v != nil {
		n, err := strconv.Atoi(fmt.Sprint(v))
		if err != nil || n < 0 {
			return nil, invalid("invalidValue", "failOnErrors is a whole number.")
		}
		b.limit = n
	}
	for i, one := range list {
		object, ok := one.(map[string]any)
		if !ok {
			return nil, invalid("invalidSyntax", "Operation %d is not an object.", i+1)
		}
		o := parseBulkOperation(object)
		if o.method == http.MethodPost && o.bulkID != "" {
			if b.pending[o.bulkID] {
				return nil, invalid("invalidValue", "Two operations have the bulkId %q.", o.bulkID)
			}
			b.pending[o.bulkID] = true
		}
		b.operations = append(b.operations, o)
	}
	return b, nil
}

// tooMuchInBulk tells the limits (RFC 7644 §3.7.4).
func bulkTooLarge(what string) error {
	return fail(http.StatusRequestEntityTooLarge, "", "%s; at most %d operations (maxOperations) and %d bytes (maxPayloadSize) are taken at once.", what, maxBulk, maxBody)
}

func parseBulkOperation(object map[string]any) *bulkOperation {
	word := func(name string) string {
		v, _ := schema.Member(object, name)
		text, _ := v.(string)
		return text
	}
	o := &bulkOperation{method: strings.ToUpper(word("method")), path: word("path"), bulkID: word("bulkId"), version: word("version")}
	data, _ := schema.Member(object, "data")
	o.data, _ = data.(map[string]any)
	replaceReferences([]any{o.path, o.data}, func(id string) (string, bool) {
		o.references = append(o.references, id)
		return "", false
	})
	return o
}

// run carries everything out. What refers to something not made yet waits. Where
// all that is left waits for one another, one of them is made without its
// references and completed once they exist.
func (b *bulkRun) run() {
	waiting := b.operations
	var incomplete []*bulkOperation
	for len(waiting) > 0 && !b.stopped() {
		var still []*bulkOperation
		for _, o := range waiting {
			if b.stopped() {
				return
			}
			if b.mustWait(o) {
				still = append(still, o)
			} else {
				b.execute(o, o.data)
			}
		}
		if len(still) == len(waiting) {
			o := b.breakCycle(still)
			still = slices.DeleteFunc(still, func(other *bulkOperation) bool { return other == o })
			incomplete = append(incomplete, o)
		}
		waiting = still
	}
	for _, o := range incomplete {
		b.completeReferences(o)
	}
}

func (b *bulkRun) stopped() bool { return b.limit > 0 && b.rejected >= b.limit }

// waits says whether o refers to something that may yet be made.
func (b *bulkRun) mustWait(o *bulkOperation) bool {
	return slices.ContainsFunc(o.references, func(id string) bool {
		_, made := b.created[id]
		return !made && b.pending[id]
	})
}

// breakCircle creates one of those that wait for one another, without what it
// waits for.
func (b *bulkRun) breakCycle(waiting []*bulkOperation) *bulkOperation {
	for _, o := range waiting {
		if o.method == http.MethodPost {
			b.execute(o, b.withoutUnresolved(o.data).(map[string]any))
			return o
		}
	}
	o := waiting[0]
	b.reject(o, fail(http.StatusConflict, "", "The operation refers to one that refers back to it."))
	return o
}

// complete gives a resource the references that it was made without.
func (b *bulkRun) completeReferences(o *bulkOperation) {
	id, made := b.created[o.bulkID]
	if !made || b.stopped() {
		return
	}
	whole := *o
	whole.method, whole.path, whole.version = http.MethodPut, "/"+strings.Trim(o.path, "/")+"/"+id, ""
	b.execute(&whole, o.data)
	if whole.result["response"] != nil {
		o.result["status"], o.result["response"] = whole.result["status"], whole.result["response"]
		return
	}
	o.result["version"] = whole.result["version"]
}

// carryOut does one operation as if it had come alone.
func (b *bulkRun) execute(o *bulkOperation, data map[string]any) {
	h, req, err := b.requestFor(o, data)
	if err == nil {
		_, err = h(req)
		b.server.recordHold(b.request.Context(), err)
	}
	if req != nil {
		for q, n := range req.quirks.Counts {
			for range n {
				b.request.quirks.Add(q)
			}
		}
	}
	if err != nil {
		b.reject(o, err)
		return
	}
	o.result = o.response(cmp.Or(req.status, http.StatusOK))
	o.result["location"] = cmp.Or(req.location, req.base+req.URL.Path)
	if req.etag != "" {
		o.result["version"] = req.etag
	}
	if o.method == http.MethodPost {
		b.created[o.bulkID] = req.location[strings.LastIndexByte(req.location, '/')+1:]
	}
}

func (o *bulkOperation) response(status int) map[string]any {
	out := map[string]any{"method": o.method, "status": strconv.Itoa(status)}
	if o.bulkID != "" {
		out["bulkId"] = o.bulkID
	}
	return out
}

func (b *bulkRun) reject(o *bulkOperation, err error) {
	b.rejected++
	if o.method == http.MethodPost {
		delete(b.pending, o.bulkID)
	}
	p := problemOf(err)
	o.result = o.response(p.status)
	o.result["response"] = p.body()
	if path, err := b.resolved(o.path); err == nil && o.method != http.MethodPost {
		o.result["location"] = b.request.base + "/" + strings.TrimPrefix(path.(string), "/")
	}
}

// exchangeOf is the operation as a request of its own, and what answers it.
func (b *bulkRun) requestFor(o *bulkOperation, data map[string]any) (handlerFunc, *request, error) {
	path, err := b.resolved(o.path)
	if err != nil {
		return nil, nil, err
	}
	whole, err := b.resolved(data)
	if err != nil {
		return nil, nil, err
	}
	h, id, err := b.server.bulkHandler(o, path.(string))
	if err != nil {
		return nil, nil, err
	}
	r := b.request.Clone(b.request.Context())
	r.Method, r.URL = o.method, &url.URL{Path: "/" + strings.Trim(path.(string), "/")}
	r.Header.Del("If-Match")
	r.Header.Del("If-None-Match")
	if o.version != "" {
		r.Header.Set("If-Match", o.version)
	}
	r.SetPathValue("id", id)
	req := &request{Request: r, types: b.request.types, token: b.request.token, received: b.request.received, base: b.request.base}
	req.data, _ = whole.(map[string]any)
	return h, req, nil
}

// bulkAnswer is what answers a method at a path, and the id in the path.
func (s *Server) bulkHandler(o *bulkOperation, path string) (handlerFunc, string, error) {
	endpoint, id, _ := strings.Cut(strings.Trim(path, "/"), "/")
	table := map[string]map[string]handlerFunc{
		s.types.User.Endpoint:  {"POST": s.createUser, "PUT": s.replaceUser, "PATCH": s.patchUser, "DELETE": s.deleteUser},
		s.types.Group.Endpoint: {"POST": s.createGroup, "PUT": s.replaceGroup, "PATCH": s.patchGroup, "DELETE": s.deleteGroup},
	}
	h := table[endpoint][o.method]
	switch {
	case h == nil:
		return nil, "", invalid("invalidValue", "%.20q of %.100q is no operation of a bulk request; there are POST, PUT, PATCH and DELETE of Users and Groups.", o.method, path)
	case (o.method == http.MethodPost) != (id == "") || strings.Contains(id, "/"):
		return nil, "", invalid("invalidPath", "The path %.100q does not fit %s.", path, o.method)
	case o.method == http.MethodPost && o.bulkID == "":
		return nil, "", invalid("invalidValue", "A POST needs a bulkId.")
	case o.method != http.MethodDelete && o.data == nil:
		return nil, "", invalid("invalidValue", "A %s needs data, which is an object.", o.method)
	}
	return h, id, nil
}

// resolved is v with ids in the place of bulkIds.
func (b *bulkRun) resolved(v any) (any, error) {
	var failure error
	out := replaceReferences(v, func(id string) (string, bool) {
		made, ok := b.created[id]
		if !ok {
			failure = fail(http.StatusConflict, "", "Nothing was made by the bulkId %.100q.", id)
		}
		return made, true
	})
	return out, failure
}

// stripped is v without what refers to something not made yet.
func (b *bulkRun) withoutUnresolved(v any) any {
	return replaceReferences(v, func(id string) (string, bool) {
		made, ok := b.created[id]
		return made, ok
	})
}

// replaceReferences copies v, with what f gives in the place of each bulkId: in a
// text that is one (members, manager) and in a path's segment. Where f gives
// nothing, the value goes, and an element with it.
func replaceReferences(v any, f func(id string) (string, bool)) any {
	switch v := v.(type) {
	case string:
		return replaceReference(v, f)
	case schema.MemberID:
		return replaceReference(string(v), f)
	case []any:
		out := make([]any, 0, len(v))
		for _, one := range v {
			if now := replaceReferences(one, f); now != nil {
				out = append(out, now)
			}
		}
		return out
	case map[string]any:
		out := maps.Clone(v)
		for name, one := range v {
			out[name] = replaceReferences(one, f)
		}
		if v["value"] != nil && out["value"] == nil {
			return nil
		}
		return out
	}
	return v
}

func replaceReference(text string, f func(id string) (string, bool)) any {
	before, id, is := strings.Cut(text, bulkPrefix)
	if !is || before != "" && !strings.HasSuffix(before, "/") {
		return text
	}
	now, ok := f(id)
	if !ok {
		return nil
	}
	return before + now
}
