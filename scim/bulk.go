package scim

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sallyport/scim/internal/schema"
)

const (
	bulkResponseURN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
	maxBulk         = 1000 // operations of one request
)

// bulkOperation is one operation of a bulk request (RFC 7644 §3.7).
type bulkOperation struct {
	method, path, bulkID, version string
	data                          map[string]any
	references                    []string       // the bulkIds that path and data refer to
	result                        map[string]any // nil until the operation was executed
}

// bulk handles POST /Bulk. Each operation is a transaction of its own; an operation is executed after those that create
// what it refers to.
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

// bulkRun is the execution of a bulk request.
type bulkRun struct {
	server      *Server
	request     *request
	operations  []*bulkOperation
	created     map[string]string // by bulkId, the ID of what was created
	pending     map[string]bool   // bulkIds of creations that may still succeed
	rejected    int
	maxRejected int // failOnErrors; 0: no limit
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
	if v, ok := schema.Member(body, "failOnErrors"); ok && v != nil {
		n, err := strconv.Atoi(fmt.Sprint(v))
		if err != nil || n < 0 {
			return nil, invalid("invalidValue", "failOnErrors is a whole number.")
		}
		b.maxRejected = n
	}
	for i, item := range list {
		object, ok := item.(map[string]any)
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

// bulkTooLarge is the error of a request beyond the limits, which it tells (RFC 7644 §3.7.4).
func bulkTooLarge(what string) error {
	return fail(http.StatusRequestEntityTooLarge, "", "%s; at most %d operations (maxOperations) and %d bytes (maxPayloadSize) are accepted at once.", what, maxBulk, maxBody)
}

func parseBulkOperation(object map[string]any) *bulkOperation {
	textOf := func(name string) string {
		v, _ := schema.Member(object, name)
		text, _ := v.(string)
		return text
	}
	o := &bulkOperation{method: strings.ToUpper(textOf("method")), path: textOf("path"), bulkID: textOf("bulkId"), version: textOf("version")}
	data, _ := schema.Member(object, "data")
	o.data, _ = data.(map[string]any)
	replaceReferences([]any{o.path, o.data}, func(id string) (string, bool) {
		o.references = append(o.references, id)
		return "", false
	})
	return o
}

// run executes the operations. One that refers to something that is not created yet waits. If all that remain wait for
// one another, one of them is created without its references, which are added once they exist.
func (b *bulkRun) run() {
	waiting := b.operations
	var incomplete []*bulkOperation
	for len(waiting) > 0 && !b.stopped() {
		var blocked []*bulkOperation
		for _, o := range waiting {
			if b.stopped() {
				return
			}
			if b.mustWait(o) {
				blocked = append(blocked, o)
			} else {
				b.execute(o, o.data)
			}
		}
		if len(blocked) == len(waiting) {
			o := b.breakCycle(blocked)
			blocked = slices.DeleteFunc(blocked, func(other *bulkOperation) bool { return other == o })
			incomplete = append(incomplete, o)
		}
		waiting = blocked
	}
	for _, o := range incomplete {
		b.completeReferences(o)
	}
}

// stopped reports whether as many operations were rejected as the client allows.
func (b *bulkRun) stopped() bool { return b.maxRejected > 0 && b.rejected >= b.maxRejected }

// mustWait reports whether o refers to something that may still be created.
func (b *bulkRun) mustWait(o *bulkOperation) bool {
	return slices.ContainsFunc(o.references, func(id string) bool {
		_, ok := b.created[id]
		return !ok && b.pending[id]
	})
}

// breakCycle executes one of the operations that wait for one another, without the references that it waits for, and
// returns it. If none of them creates anything, it rejects the first.
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

// completeReferences adds the references that a resource was created without.
func (b *bulkRun) completeReferences(o *bulkOperation) {
	id, ok := b.created[o.bulkID]
	if !ok || b.stopped() {
		return
	}
	put := *o
	put.method, put.path, put.version = http.MethodPut, "/"+strings.Trim(o.path, "/")+"/"+id, ""
	b.execute(&put, o.data)
	if put.result["response"] != nil {
		o.result["status"], o.result["response"] = put.result["status"], put.result["response"]
		return
	}
	o.result["version"] = put.result["version"]
}

// execute executes one operation as a request of its own would be.
func (b *bulkRun) execute(o *bulkOperation, data map[string]any) {
	h, req, err := b.requestFor(o, data)
	if err == nil {
		_, err = h(req)
		b.server.recordHold(req, err)
	}
	if req != nil {
		if err == nil {
			b.request.recorded = append(b.request.recorded, req.recorded...)
		}
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
	o.result = o.newResult(cmp.Or(req.status, http.StatusOK))
	o.result["location"] = cmp.Or(req.location, req.base+req.URL.Path)
	if req.etag != "" {
		o.result["version"] = req.etag
	}
	if o.method == http.MethodPost {
		b.created[o.bulkID] = req.location[strings.LastIndexByte(req.location, '/')+1:]
	}
}

// newResult returns the operation's part of the response.
func (o *bulkOperation) newResult(status int) map[string]any {
	out := map[string]any{"method": o.method, "status": strconv.Itoa(status)}
	if o.bulkID != "" {
		out["bulkId"] = o.bulkID
	}
	return out
}

// reject sets err as the result of o.
func (b *bulkRun) reject(o *bulkOperation, err error) {
	b.rejected++
	if o.method == http.MethodPost {
		delete(b.pending, o.bulkID)
	}
	p := problemOf(err)
	o.result = o.newResult(p.status)
	o.result["response"] = p.body()
	if path, err := b.resolve(o.path); err == nil && o.method != http.MethodPost {
		o.result["location"] = b.request.base + "/" + strings.TrimPrefix(path.(string), "/")
	}
}

// requestFor returns an operation as a request, and its handler.
func (b *bulkRun) requestFor(o *bulkOperation, data map[string]any) (handlerFunc, *request, error) {
	path, err := b.resolve(o.path)
	if err != nil {
		return nil, nil, err
	}
	body, err := b.resolve(data)
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
	req := &request{Request: r, directory: b.request.directory, types: b.request.types, token: b.request.token, received: b.request.received, base: b.request.base}
	req.data, _ = body.(map[string]any)
	return h, req, nil
}

// bulkHandler returns the handler of an operation at a path, and the ID in the path.
func (s *Server) bulkHandler(o *bulkOperation, path string) (handlerFunc, string, error) {
	endpoint, id, _ := strings.Cut(strings.Trim(path, "/"), "/")
	table := map[string]map[string]handlerFunc{
		s.types.User.Endpoint:  {"POST": s.createUser, "PUT": s.replaceUser, "PATCH": s.patchUser, "DELETE": s.deleteUser},
		s.types.Group.Endpoint: {"POST": s.createGroup, "PUT": s.replaceGroup, "PATCH": s.patchGroup, "DELETE": s.deleteGroup},
	}
	h := table[endpoint][o.method]
	switch {
	case h == nil:
		return nil, "", invalid("invalidValue", "%.20q of %.100q is not an operation of a bulk request; there are POST, PUT, PATCH and DELETE of Users and Groups.", o.method, path)
	case (o.method == http.MethodPost) != (id == "") || strings.Contains(id, "/"):
		return nil, "", invalid("invalidPath", "The path %.100q does not fit %s.", path, o.method)
	case o.method == http.MethodPost && o.bulkID == "":
		return nil, "", invalid("invalidValue", "A POST needs a bulkId.")
	case o.method != http.MethodDelete && o.data == nil:
		return nil, "", invalid("invalidValue", "A %s needs data, which is an object.", o.method)
	}
	return h, id, nil
}
