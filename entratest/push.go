package entratest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Push is a SCIM request and its result.
type Push struct {
	Method, Path string
	Body         string // as sent
	Status       int    // 0 if there was no response
	Took         time.Duration
	Problem      string // as Entra's provisioning log would have it; "" for success
}

// Provisioner sends SCIM requests like Entra's provisioning service. A response that
// is not as the RFCs and Entra expect it is an error, and every change is read back.
type Provisioner struct {
	BaseURL string // the "tenant URL", such as https://host/scim/v2
	Token   string // the "secret token"
	Client  *http.Client
	Modern  bool       // the dialect of ?aadOptscim062020: lower-case ops, replace without path, booleans
	Observe func(Push) // called after every request that Entra would make too; may be nil
}

const (
	scimType  = "application/scim+json"
	timeout   = 30 * time.Second // for one request
	maxBody   = 64 << 20         // of a response, in bytes
	maxQuoted = 500              // of a response, in an error, in bytes
	userURN   = "urn:ietf:params:scim:schemas:core:2.0:User"
	staffURN  = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	groupURN  = "urn:ietf:params:scim:schemas:core:2.0:Group"
	oldURN    = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
	listURN   = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	patchURN  = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	errorURN  = "urn:ietf:params:scim:api:messages:2.0:Error"
	usersPath = "/Users"
	groupPath = "/Groups"
)

// document is a JSON object.
type document = map[string]any

// call makes a request that Entra would make too.
func (p *Provisioner) call(method, path string, body any, statuses ...int) (document, error) {
	push := Push{Method: method, Path: path}
	result, err := p.do(&push, body, statuses)
	if err != nil {
		push.Problem = err.Error()
	}
	if p.Observe != nil {
		p.Observe(push)
	}
	return result, err
}

// readBack is a GET that Entra would not make.
func (p *Provisioner) readBack(path string, statuses ...int) (document, error) {
	return p.do(&Push{Method: http.MethodGet, Path: path}, nil, statuses)
}

// do sends a request and expects one of statuses. The document is nil for 204.
func (p *Provisioner) do(push *Push, body any, statuses []int) (document, error) {
	ctx, stop := context.WithTimeout(context.Background(), timeout)
	defer stop()
	req, err := p.request(ctx, push, body)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	resp, err := p.client().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: no response: %w", push.Method, push.Path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	push.Took, push.Status = time.Since(began), resp.StatusCode
	if err != nil {
		return nil, fmt.Errorf("%s %s: the response is incomplete: %w", push.Method, push.Path, err)
	}
	result, err := checkResponse(resp, data, statuses)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", push.Method, push.Path, err)
	}
	return result, nil
}

func (p *Provisioner) request(ctx context.Context, push *Push, body any) (*http.Request, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		push.Body = string(data)
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, push.Method, strings.TrimSuffix(p.BaseURL, "/")+push.Path, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.Token)
	req.Header.Set("User-Agent", "") // Entra sends neither User-Agent nor Accept
	if body != nil {
		req.Header.Set("Content-Type", scimType+"; charset=utf-8")
	}
	return req, nil
}

// client returns a client that follows no redirects, like Entra.
func (p *Provisioner) client() *http.Client {
	var c http.Client
	if p.Client != nil {
		c = *p.Client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("the response is a redirect, which is not followed")
	}
	return &c
}

// TestConnection does what the button of that name in the portal does: it queries a
// user, a group and an id that cannot exist.
func (p *Provisioner) TestConnection() error {
	for _, path := range []string{
		usersPath + "?filter=" + equals("userName", guid()),
		groupPath + "?excludedAttributes=members&filter=" + equals("displayName", guid()),
	} {
		found, err := p.match(path)
		if err == nil && found != nil {
			err = fmt.Errorf("GET %s: found a resource that cannot exist", path)
		}
		if err != nil {
			return err
		}
	}
	_, err := p.call(http.MethodGet, usersPath+"/"+guid(), nil, http.StatusNotFound)
	return err
}
