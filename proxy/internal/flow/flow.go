// Package flow keeps what a login has to remember on its way through several hosts: where it leads, what the identity
// provider has to confirm, and which browser it belongs to. All of it is sealed in the browser, so that abandoned logins
// use no memory of the server.
package flow

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/oidc"
	"sallyport/session"
)

// Flow is a login that was started and whose callback has not arrived. It is stored in sealed cookies on the login host.
// The names of the cookies hold the beginning of state, so that logins in several tabs do not overwrite each other.
//
// Where the login leads travels in the parameter state, sealed too, so that a browser that lost the flow still continues
// there. A target that is too long for a URL is in the flow instead, and state has the path of it alone.
type Flow struct {
	oidc.Flow
	To  string `json:"to,omitempty"`  // "": the target in state
	Had string `json:"had,omitempty"` // the id of the session that the browser had; "" for none
	At  int64  `json:"at"`            // nanoseconds since 1970
}

const (
	flowCookie   = session.CookieName + "-flow-"
	flowPurpose  = "flow"
	flowLifetime = 2 * time.Hour // people leave the provider's page open
	maxFlowBytes = 6 << 10       // of all flows in a browser but the newest: many servers read 8 KiB of cookies
	maxCookie    = 3500          // bytes of the value of one cookie; browsers accept 4096 with its name
	maxParts     = 10            // cookies of the longest flow
)

// Browser is the browser that sent a request to one of our hosts. Its cookies come with the request, and those that it is
// given go with the response.
type Browser struct {
	Sessions *session.Sessions // seals for Host
	Host     string            // canonical
	Request  *http.Request
	Response http.ResponseWriter
	Received time.Time // when the request arrived
}

// Store keeps f in the browser, and deletes the cookies of the oldest flows beyond maxFlowBytes.
func (b Browser) Store(f Flow) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // or each & of a long target would take six bytes
	if err := encoder.Encode(f); err != nil {
		return err
	}
	sealed, err := b.Sessions.Seal(flowPurpose, b.Host, deflate(text.Bytes()), flowLifetime)
	if err != nil {
		return err
	}
	name, _ := flowName(f.State)
	b.clearSurplus(flowCookie, maxFlowBytes-len(name)-min(len(sealed), maxCookie), func(name, _ string) int64 { return b.flowAge(name) })
	for i, part := range slices.Collect(slices.Chunk([]byte(sealed), maxCookie)) {
		b.setCookie(partName(name, i), string(part), flowLifetime)
	}
	return nil
}

// Consume returns the flow of the browser with a state, and deletes its cookies: a flow is valid once, whatever comes of
// the login.
func (b Browser) Consume(state string) (Flow, bool) {
	name, ok := flowName(state)
	if !ok {
		return Flow{}, false
	}
	sealed, names := b.readParts(name)
	b.clearCookies(names)
	f, ok := b.unsealFlow(sealed)
	own, _, _ := strings.Cut(state, ".")
	return f, ok && f.State == own
}

// flowName returns the name of the first cookie for the flow with a state. It reports false if the state cannot be ours.
func flowName(state string) (name string, ok bool) {
	const characters = 8
	if len(state) < characters {
		return "", false
	}
	head := state[:characters]
	return flowCookie + head, strings.Trim(head, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// partName returns the name of the cookie with a part of a flow.
func partName(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "." + strconv.Itoa(i)
}

// readParts returns the sealed flow that the cookies of a name hold together, and their names.
func (b Browser) readParts(name string) (sealed string, names []string) {
	var all strings.Builder
	for i := range maxParts {
		part, ok := session.OneCookie(b.Request.Header, partName(name, i))
		if !ok {
			break
		}
		all.WriteString(part)
		names = append(names, partName(name, i))
	}
	return all.String(), names
}

// flowAge returns when the flow began to which a cookie belongs; 0 if it cannot be unsealed.
func (b Browser) flowAge(cookie string) int64 {
	name, _, _ := strings.Cut(cookie, ".")
	sealed, _ := b.readParts(name)
	f, _ := b.unsealFlow(sealed)
	return f.At
}

func (b Browser) unsealFlow(sealed string) (f Flow, ok bool) {
	packed, err := b.Sessions.Unseal(flowPurpose, b.Host, sealed)
	if err != nil {
		return Flow{}, false
	}
	text, err := inflate(packed)
	if err != nil || json.Unmarshal(text, &f) != nil {
		return Flow{}, false
	}
	return f, true
}
