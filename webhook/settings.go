package webhook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sallyport/outbound"
	"sallyport/pemfile"
)

// The events that Sallyport tells of. Each has data of its own, which docs/webhooks.md describes.
const (
	RequestMade    = "request.made"    // somebody asks for access
	RequestDecided = "request.decided" // a request was approved, denied, withdrawn, or has expired
	GrantRevoked   = "grant.revoked"   // somebody ended a grant before its time

	UserOffboarded    = "user.offboarded"    // somebody was deactivated or deleted
	DeactivationsHeld = "deactivations.held" // deactivations wait for an operator

	BreakGlassArmed   = "breakglass.armed"   // an operator armed a break-glass code
	BreakGlassUsed    = "breakglass.used"    // a break-glass code began a session
	BreakGlassRefused = "breakglass.refused" // a break-glass code was entered, and no session began

	CertificateExpiring = "certificate.expiring" // a TLS certificate that is presented to clients expires soon
	TokenExpiring       = "token.expiring"       //nolint:gosec // a provisioning token expires soon
	ConfigRefused       = "config.refused"       // the configuration was read again, and has a fault
)

// testEvent is sent by [Sender.Test] alone, to every endpoint.
const testEvent = "test"

// Events returns the events that an endpoint may choose from.
func Events() []string {
	return []string{RequestMade, RequestDecided, GrantRevoked, UserOffboarded, DeactivationsHeld, BreakGlassArmed, BreakGlassUsed, BreakGlassRefused,
		CertificateExpiring, TokenExpiring, ConfigRefused}
}

// maxEndpoints is how many endpoints a configuration may name.
const maxEndpoints = 10

// Settings are the settings of one endpoint.
type Settings struct {
	Name       string       `yaml:"name" doc:"in logs and for webhook test; the host of the URL by default"`
	URL        outbound.URL `yaml:"url" doc:"where events are posted; https, or http on localhost"`
	SecretFile string       `yaml:"secret_file" kind:"file" doc:"a file with the secret that signs what is sent: whsec_ and base64"`
	Events     []string     `yaml:"events" doc:"the events to send; all by default"`
	CAFile     string       `yaml:"ca_file" kind:"file" doc:"PEM certificates that may sign the receiver's, instead of the system's"`
}

var hints = outbound.Hints{Example: "write where events are posted, such as https://hooks.example.com/sallyport",
	Credentials: "leave them out, since the signature shows who sends"}

// name returns the name of the endpoint.
func (s Settings) name() string {
	if u, err := s.URL.Parse(hints); s.Name == "" && err == nil {
		return strings.ToLower(u.Hostname())
	}
	return s.Name
}

var namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`) })

// Check reports the faults in the settings of all endpoints, at paths such as [0].url.
func Check(all []Settings, fault func(path, problem string)) {
	if len(all) > maxEndpoints {
		fault(fmt.Sprintf("[%d]", maxEndpoints), fmt.Sprintf("is one webhook too many; write at most %d", maxEndpoints))
	}
	for i, s := range all {
		under := func(key, problem string) { fault(fmt.Sprintf("[%d]%s", i, key), problem) }
		s.check(under)
		first := slices.IndexFunc(all, func(other Settings) bool { return other.name() == s.name() })
		if first < i && s.name() != "" {
			under("", fmt.Sprintf("has the name %q, as webhooks[%d] has; give each a name of its own (the host of the URL is the default)", s.name(), first))
		}
	}
}

// check reports the faults in the settings of one endpoint.
func (s Settings) check(fault func(path, problem string)) {
	if s.Name != "" && !namePattern().MatchString(s.Name) {
		fault(".name", fmt.Sprintf("%q is not a name; write up to 63 lower-case letters, digits, dashes and dots", s.Name))
	}
	if _, err := s.URL.Parse(hints); err != nil {
		fault(".url", err.Error())
	}
	if s.SecretFile == "" {
		fault(".secret_file", "is missing; write the path of a file that holds the secret; "+howToMakeSecret)
	} else if _, err := readSecrets(s.SecretFile); err != nil {
		fault(".secret_file", err.Error())
	}
	s.checkEvents(fault)
	if _, err := pemfile.Pool(s.CAFile); err != nil {
		fault(".ca_file", err.Error())
	}
}

func (s Settings) checkEvents(fault func(path, problem string)) {
	if s.Events != nil && len(s.Events) == 0 {
		fault(".events", "is empty, so that nothing would be sent; leave it out for all events")
	}
	for i, event := range s.Events {
		path := fmt.Sprintf(".events[%d]", i)
		switch {
		case !slices.Contains(Events(), event):
			fault(path, fmt.Sprintf("%q is no event; the events are %s", event, strings.Join(Events(), ", ")))
		case slices.Index(s.Events, event) < i:
			fault(path, fmt.Sprintf("%q is there already; write it once", event))
		}
	}
}
