// Package identity says by which headers an upstream learns who is calling, and writes their values.
package identity

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/header"
)

// Settings name the headers that tell an upstream who is calling: on top of the built-in names for all routes, and on top
// of those for one route. A key that is nil inherits the name; an empty name switches the header off.
type Settings struct {
	Preset     string  `yaml:"preset" doc:"names that another proxy sends, or that an application expects: authelia, gitea, grafana, oauth2-proxy, pomerium, traefik-forward-auth or x-auth-request; the keys beside it win"`
	User       *string `yaml:"user" doc:"carries userName, or the client ID of an application that calls for itself"`
	Login      *string `yaml:"login" doc:"carries userName; absent for an application that calls for itself"`
	Email      *string `yaml:"email" doc:"carries the e-mail address"`
	Name       *string `yaml:"name" doc:"carries the display name"`
	Groups     *string `yaml:"groups" doc:"carries the caller's groups that the route's policy names, separated by commas"`
	Assertion  *string `yaml:"assertion" doc:"carries a signed JWT of the same, valid for a minute; its keys are at /.sallyport/jwks.json"`
	Domain     *string `yaml:"login_domain" doc:"a domain, such as example.com: login is alice for alice@example.com, and as it was for names of other domains"`
	GroupNames *bool   `yaml:"group_names" doc:"true: groups are called by the names that the policy has beside their ids, which it must then have"`
}

// Headers are the names in force, in canonical spelling; "" for a header that is not sent.
type Headers struct {
	User, Login, Email, Name, Groups, Assertion string

	Domain     string // that login leaves out; "" for none
	GroupNames bool   // groups are called by name
}

// Default returns the built-in names.
func Default() Headers {
	return Headers{User: "X-Forwarded-User", Login: "X-Forwarded-Preferred-Username", Email: "X-Forwarded-Email", Groups: "X-Forwarded-Groups",
		Assertion: "X-Sallyport-Assertion"}
}

// presets are names that other proxies send, or that applications expect. What a preset does not name is inherited.
var presets = map[string]Headers{
	"authelia":             {User: "Remote-User", Email: "Remote-Email", Name: "Remote-Name", Groups: "Remote-Groups"},
	"gitea":                {Login: "X-Webauth-User", Email: "X-Webauth-Email", Name: "X-Webauth-Fullname"},
	"grafana":              {User: "X-Webauth-User", Email: "X-Webauth-Email", Name: "X-Webauth-Name", Groups: "X-Webauth-Groups"},
	"oauth2-proxy":         {User: "X-Forwarded-User", Login: "X-Forwarded-Preferred-Username", Email: "X-Forwarded-Email", Groups: "X-Forwarded-Groups"},
	"pomerium":             {User: "X-Pomerium-Claim-User", Email: "X-Pomerium-Claim-Email", Name: "X-Pomerium-Claim-Name", Groups: "X-Pomerium-Claim-Groups", Assertion: "X-Pomerium-Jwt-Assertion"},
	"traefik-forward-auth": {User: "X-Forwarded-User"},
	"x-auth-request":       {User: "X-Auth-Request-User", Login: "X-Auth-Request-Preferred-Username", Email: "X-Auth-Request-Email", Groups: "X-Auth-Request-Groups"},
}

// On returns the names of s, and those of base that s inherits.
func (s Settings) On(base Headers) Headers {
	h := base
	for key, name := range presets[s.Preset].All() {
		if name != "" {
			*h.field(key) = name
		}
	}
	for key, name := range s.all() {
		if name != nil {
			*h.field(key) = http.CanonicalHeaderKey(*name)
		}
	}
	if s.Domain != nil {
		h.Domain = strings.ToLower(*s.Domain)
	}
	if s.GroupNames != nil {
		h.GroupNames = *s.GroupNames
	}
	h.yieldLogin(s.Login != nil)
	return h
}

// yieldLogin switches login off where another key has its header, unless login itself is written: name once had the
// header that login has by default.
func (h *Headers) yieldLogin(written bool) {
	for key, name := range h.All() {
		if !written && key != "login" && name != "" && header.CGI(name) == header.CGI(h.Login) {
			h.Login = ""
			return
		}
	}
}

// Check reports names of s that cannot be used, each by its key. h is what s.On returned.
func (s Settings) Check(h Headers, fault func(key, problem string)) {
	if _, ok := presets[s.Preset]; !ok && s.Preset != "" {
		fault("preset", fmt.Sprintf("%q is no preset; write %s, or the names themselves", s.Preset, strings.Join(slices.Sorted(maps.Keys(presets)), ", ")))
	}
	if s.Domain != nil && *s.Domain != "" {
		if _, err := canonical.HostName(*s.Domain); err != nil {
			fault("login_domain", fmt.Sprintf("%q is no domain; write what follows the @ of your users, such as example.com", *s.Domain))
		}
	}
	preset, written, carries := presets[s.Preset], maps.Collect(s.all()), map[string]string{}
	for key, name := range h.All() {
		if name == "" {
			continue
		}
		if name := written[key]; name != nil {
			checkName(key, *name, fault)
		}
		other, ok := carries[header.CGI(name)]
		carries[header.CGI(name)] = key
		switch {
		case !ok:
		case written[key] != nil:
			fault(key, fmt.Sprintf("%s carries %s already; give each its own header", *written[key], other))
		case written[other] != nil:
			fault(other, fmt.Sprintf("%s carries %s already; give each its own header", *written[other], key))
		case *preset.field(other) != "" || *preset.field(key) != "":
			fault("preset", fmt.Sprintf("%s carries both %s and %s; give one of them another header, or switch it off by an empty name", name, other, key))
		}
	}
}

func checkName(key, name string, fault func(key, problem string)) {
	switch {
	case !header.ValidName(name):
		fault(key, fmt.Sprintf("%q cannot be the name of a header; write letters, digits and dashes", name))
	case header.Reserved(name):
		fault(key, fmt.Sprintf("%s has a meaning of its own in HTTP; choose another name", name))
	}
}

// all yields the keys that name headers, in order, each with its value.
func (s Settings) all() iter.Seq2[string, *string] {
	return func(yield func(string, *string) bool) {
		_ = yield("user", s.User) && yield("login", s.Login) && yield("email", s.Email) && yield("name", s.Name) &&
			yield("groups", s.Groups) && yield("assertion", s.Assertion)
	}
}

// All yields key and name of each header, in order.
func (h Headers) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_ = yield("user", h.User) && yield("login", h.Login) && yield("email", h.Email) && yield("name", h.Name) &&
			yield("groups", h.Groups) && yield("assertion", h.Assertion)
	}
}

// field returns the name of the header with a key.
func (h *Headers) field(key string) *string {
	switch key {
	case "user":
		return &h.User
	case "login":
		return &h.Login
	case "email":
		return &h.Email
	case "name":
		return &h.Name
	case "groups":
		return &h.Groups
	}
	return &h.Assertion
}

// Names returns the names of the usual headers and of all given ones, each once. An upstream may trust the usual ones
// even if others are configured, and the ones that another route has, so no client may bring any of them, and no upstream
// may send them to a client.
func Names(all ...Headers) (names []string) {
	for _, h := range append(all, Default()) {
		for _, name := range h.All() {
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Unset returns those of names, by CGI name, that h does not have.
func (h Headers) Unset(names []string) map[string]bool {
	unset := map[string]bool{}
	for _, name := range names {
		unset[header.CGI(name)] = true
	}
	for _, name := range h.All() {
		delete(unset, header.CGI(name))
	}
	return unset
}
