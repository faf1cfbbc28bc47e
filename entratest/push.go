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

// Push is one SCIM request and what came of it.
type Push struct {
	Method, Path string
	Body         string // as sent
	Status       int    // 0: no answer
	Took         time.Duration
	Problem      string // what Entra's provisioning log would say; "" for success
}

// Provisioner sends SCIM as Entra's provisioning service does and is particular
// about the answers: what is not as the RFCs and Entra want it is an error, and
// every change is read back.
type Provisioner struct {
	BaseURL string // the "tenant URL", such as https://host/scim/v2
	Token   string // the "secret token"
	Client  *http.Client
	Modern  bool       // speak as with ?aadOptscim062020: lower-case ops, path-less replace, real booleans
	Observe func(Push) // told of every request Entra would make, not of those that read back; nil for nobody
}

const (
	scimType  = "application/scim+json"
	patience  = 30 * time.Second // for one answer
	longest   = 64 << 20         // of an answer, in bytes
	quoted    = 500              // of an answer, in an error, in bytes
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

// call makes one request of Entra's; see ask.
func (p *Provisioner) call(method, path string, body any, statuses ...int) (document, error) {
	push := Push{Method: method, Path: path}
	answer, err := p.ask(&push, body, statuses)
	if err != nil {
		push.Problem = err.Error()
	}
	if p.Observe != nil {
		p.Observe(push)
	}
	return answer, err
}

// readBack is a GET that Entra would not make.
func (p *Provisioner) readBack(path string, statuses ...int) (document, error) {
	return p.ask(&Push{Method: http.MethodGet, Path: path}, nil, statuses)
}

// ask sends a request and demands one of statuses; the answer is nil for 204.
func (p *Provisioner) ask(push *Push, body any, statuses []int) (document, error) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	req, err := p.request(ctx, push, body)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	resp, err := p.client().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: no answer: %w", push.Method, push.Path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, longest))
	push.Took, push.Status = time.Since(began), resp.StatusCode
	if err != nil {
		return nil, fmt.Errorf("%s %s: the answer broke off: %w", push.Method, push.Path, err)
	}
	answer, err := judge(resp, data, statuses)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", push.Method, push.Path, err)
	}
	return answer, nil
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
	req.Header.Set("User-Agent", "") // none, and no Accept either: so Entra does
	if body != nil {
		req.Header.Set("Content-Type", scimType+"; charset=utf-8")
	}
	return req, nil
}

// client follows no redirects, as Entra does not.
func (p *Provisioner) client() *http.Client {
	var c http.Client
	if p.Client != nil {
		c = *p.Client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("the answer is a redirect, which is not followed")
	}
	return &c
}

// TestConnection is what the portal's button does: ask for a user, a group and an
// id that cannot exist.
func (p *Provisioner) TestConnection() error {
	for _, path := range []string{
		usersPath + "?filter=" + equals("userName", guid()),
		groupPath + "?excludedAttributes=members&filter=" + equals("displayName", guid()),
	} {
		found, err := p.match(path)
		if err == nil && found != nil {
			err = fmt.Errorf("GET %s: found what cannot exist", path)
		}
		if err != nil {
			return err
		}
	}
	_, err := p.call(http.MethodGet, usersPath+"/"+guid(), nil, http.StatusNotFound)
	return err
}
