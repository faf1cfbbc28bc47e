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
	refers                        []string       // the bulkIds in path and data
	result                        map[string]any // nil until it was carried out
}

// bulk carries many operations out, each by itself, in the order that their
// references to one another ask for.
func (s *Server) bulk(e *exchange) (any, error) {
	body, err := e.body()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooMuchInBulk("The request is too large")
	case err != nil:
		return nil, err
	}
	b, err := parseBulk(s, e, body)
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
	e.changes = []string{fmt.Sprintf("%d operations, %d refused", len(results), b.refused)}
	return map[string]any{"schemas": []string{bulkResponseURN}, "Operations": results}, nil
}

// bulkRun is a /Bulk request under way.
type bulkRun struct {
	server     *Server
	exchange   *exchange
	operations []*bulkOperation
	made       map[string]string // bulkId → id
	expected   map[string]bool   // bulkIds of creations that may still succeed
	refused    int
	limit      int // failOnErrors; 0: none
}

func parseBulk(s *Server, e *exchange, body map[string]any) (*bulkRun, error) {
	list, err := operationsIn(body)
	if err != nil {
		return nil, err
	}
	if len(list) > maxBulk {
		return nil, tooMuchInBulk(fmt.Sprintf("There are %d operations", len(list)))
	}
	b := &bulkRun{server: s, exchange: e, made: map[string]string{}, expected: map[string]bool{}}
	if v, has := member(body, "failOnErrors"); has && v != nil {
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
			if b.expected[o.bulkID] {
				return nil, invalid("invalidValue", "Two operations have the bulkId %q.", o.bulkID)
			}
			b.expected[o.bulkID] = true
		}
		b.operations = append(b.operations, o)
	}
	return b, nil
}

// tooMuchInBulk tells the limits (RFC 7644 §3.7.4).
func tooMuchInBulk(what string) error {
	return fail(http.StatusRequestEntityTooLarge, "", "%s; at most %d operations (maxOperations) and %d bytes (maxPayloadSize) are taken at once.", what, maxBulk, maxBody)
}

func parseBulkOperation(object map[string]any) *bulkOperation {
	word := func(name string) string {
		v, _ := member(object, name)
		text, _ := v.(string)
		return text
	}
	o := &bulkOperation{method: strings.ToUpper(word("method")), path: word("path"), bulkID: word("bulkId"), version: word("version")}
	data, _ := member(object, "data")
	o.data, _ = data.(map[string]any)
	replaceReferences([]any{o.path, o.data}, func(id string) (string, bool) {
		o.refers = append(o.refers, id)
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
			if b.waits(o) {
				still = append(still, o)
			} else {
				b.carryOut(o, o.data)
			}
		}
		if len(still) == len(waiting) {
			o := b.breakCircle(still)
			still = slices.DeleteFunc(still, func(other *bulkOperation) bool { return other == o })
			incomplete = append(incomplete, o)
		}
		waiting = still
	}
	for _, o := range incomplete {
		b.complete(o)
	}
}

func (b *bulkRun) stopped() bool { return b.limit > 0 && b.refused >= b.limit }

// waits says whether o refers to something that may yet be made.
func (b *bulkRun) waits(o *bulkOperation) bool {
	return slices.ContainsFunc(o.refers, func(id string) bool {
		_, made := b.made[id]
		return !made && b.expected[id]
	})
}

// breakCircle creates one of those that wait for one another, without what it
// waits for.
func (b *bulkRun) breakCircle(waiting []*bulkOperation) *bulkOperation {
	for _, o := range waiting {
		if o.method == http.MethodPost {
			b.carryOut(o, b.stripped(o.data).(map[string]any))
			return o
		}
	}
	o := waiting[0]
	b.refuse(o, fail(http.StatusConflict, "", "The operation refers to one that refers back to it."))
	return o
}

// complete gives a resource the references that it was made without.
func (b *bulkRun) complete(o *bulkOperation) {
	id, made := b.made[o.bulkID]
	if !made || b.stopped() {
		return
	}
	whole := *o
	whole.method, whole.path, whole.version = http.MethodPut, "/"+strings.Trim(o.path, "/")+"/"+id, ""
	b.carryOut(&whole, o.data)
	if whole.result["response"] != nil {
		o.result["status"], o.result["response"] = whole.result["status"], whole.result["response"]
		return
	}
	o.result["version"] = whole.result["version"]
}

// carryOut does one operation as if it had come alone.
func (b *bulkRun) carryOut(o *bulkOperation, data map[string]any) {
	h, e, err := b.exchangeOf(o, data)
	if err == nil {
		_, err = h(e)
		b.server.hold(b.exchange.Context(), err)
	}
	if e != nil {
		for q, n := range e.notes.seen {
			for range n {
				b.exchange.notes.add(q)
			}
		}
	}
	if err != nil {
		b.refuse(o, err)
		return
	}
	o.result = o.answer(cmp.Or(e.status, http.StatusOK))
	o.result["location"] = cmp.Or(e.location, e.base+e.URL.Path)
	if e.etag != "" {
		o.result["version"] = e.etag
	}
	if o.method == http.MethodPost {
		b.made[o.bulkID] = e.location[strings.LastIndexByte(e.location, '/')+1:]
	}
}

func (o *bulkOperation) answer(status int) map[string]any {
	out := map[string]any{"method": o.method, "status": strconv.Itoa(status)}
	if o.bulkID != "" {
		out["bulkId"] = o.bulkID
	}
	return out
}

func (b *bulkRun) refuse(o *bulkOperation, err error) {
	b.refused++
	if o.method == http.MethodPost {
		delete(b.expected, o.bulkID)
	}
	p := problemOf(err)
	o.result = o.answer(p.status)
	o.result["response"] = p.body()
	if path, err := b.resolved(o.path); err == nil && o.method != http.MethodPost {
		o.result["location"] = b.exchange.base + "/" + strings.TrimPrefix(path.(string), "/")
	}
}

// exchangeOf is the operation as a request of its own, and what answers it.
func (b *bulkRun) exchangeOf(o *bulkOperation, data map[string]any) (answer, *exchange, error) {
	path, err := b.resolved(o.path)
	if err != nil {
		return nil, nil, err
	}
	whole, err := b.resolved(data)
	if err != nil {
		return nil, nil, err
	}
	h, id, err := b.server.bulkAnswer(o, path.(string))
	if err != nil {
		return nil, nil, err
	}
	r := b.exchange.Clone(b.exchange.Context())
	r.Method, r.URL = o.method, &url.URL{Path: "/" + strings.Trim(path.(string), "/")}
	r.Header.Del("If-Match")
	r.Header.Del("If-None-Match")
	if o.version != "" {
		r.Header.Set("If-Match", o.version)
	}
	r.SetPathValue("id", id)
	e := &exchange{Request: r, kinds: b.exchange.kinds, token: b.exchange.token, received: b.exchange.received, base: b.exchange.base}
	e.data, _ = whole.(map[string]any)
	return h, e, nil
}

// bulkAnswer is what answers a method at a path, and the id in the path.
func (s *Server) bulkAnswer(o *bulkOperation, path string) (answer, string, error) {
	endpoint, id, _ := strings.Cut(strings.Trim(path, "/"), "/")
	table := map[string]map[string]answer{
		s.kinds.user.endpoint:  {"POST": s.createUser, "PUT": s.replaceUser, "PATCH": s.patchUser, "DELETE": s.deleteUser},
		s.kinds.group.endpoint: {"POST": s.createGroup, "PUT": s.replaceGroup, "PATCH": s.patchGroup, "DELETE": s.deleteGroup},
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
		made, ok := b.made[id]
		if !ok {
			failure = fail(http.StatusConflict, "", "Nothing was made by the bulkId %.100q.", id)
		}
		return made, true
	})
	return out, failure
}

// stripped is v without what refers to something not made yet.
func (b *bulkRun) stripped(v any) any {
	return replaceReferences(v, func(id string) (string, bool) {
		made, ok := b.made[id]
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
	case memberID:
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
