package scim

import (
	"fmt"
	"time"
)

// Settings is the scim node of the configuration.
type Settings struct {
	OnPublic         bool              `yaml:"on_public" doc:"serve SCIM on the public listener too, on public_url's host"`
	Enforce          Enforcement       `yaml:"enforce" doc:"when a push is answered: once all replicas decide by it (all), or once the one that received it does (local)"`
	MaxDeactivations DeactivationLimit `yaml:"max_deactivations" doc:"beyond it, deactivations are held for an operator"`
	Extensions       []Extension       `yaml:"extensions" doc:"schemas of users beyond the enterprise one; policies read them as user.attributes[URN]"`
	OAuth            *OAuth            `yaml:"oauth" doc:"an authorization server whose tokens are accepted beside those of token create"`
}

// Enforcement says which replicas decide by a push when it is answered.
type Enforcement string

// The replicas that decide by a push when it is answered.
const (
	EnforceAll   Enforcement = "all"   // all of them, but for those whose lease has run out, which decide nothing; also ""
	EnforceLocal Enforcement = "local" // the one that received it
)

// DeactivationLimit is how many deactivations are carried out in how long a time.
type DeactivationLimit struct {
	Count int           `yaml:"count" doc:"how many deactivations"`
	Per   time.Duration `yaml:"per" doc:"in how long a time"`
}

// OAuth names an authorization server whose access tokens are accepted, and whose assertions are exchanged for a token of
// ours (RFC 7523 §2.2).
type OAuth struct {
	Issuer    string   `yaml:"issuer" doc:"the authorization server, exactly as its tokens name it"`
	Audiences []string `yaml:"audiences" doc:"a token must name one of these as its audience"`
	ClientIDs []string `yaml:"client_ids" doc:"the applications that may push: the token's azp, appid, client_id or, for a federated workload, sub"`
	CAFile    string   `yaml:"ca_file" kind:"file" doc:"PEM certificates that may sign the issuer's, instead of the system's"`
}

// Defaults returns the settings that absent keys have.
func Defaults() Settings {
	return Settings{Enforce: EnforceAll, MaxDeactivations: DeactivationLimit{50, 10 * time.Minute}}
}

// Check reports every fault of s.
func (s Settings) Check(fault func(path, problem string)) {
	if s.MaxDeactivations.Count < 0 {
		fault("max_deactivations.count", "is negative; write how many deactivations are usual at once, such as 50")
	}
	if s.MaxDeactivations.Per < 0 {
		fault("max_deactivations.per", "is negative; write a time such as 10m")
	}
	if s.Enforce != "" && s.Enforce != EnforceAll && s.Enforce != EnforceLocal {
		fault("enforce", fmt.Sprintf("%.40q is not one of all and local; write all, unless a push must not wait for other replicas", s.Enforce))
	}
	s.checkExtensions(fault)
	if s.OAuth != nil {
		s.OAuth.check(fault)
	}
}

func (o *OAuth) check(fault func(path, problem string)) {
	if o.Issuer == "" {
		fault("oauth.issuer", "is missing; write the issuer as its tokens name it, such as https://login.microsoftonline.com/TENANT-ID/v2.0")
	}
	for _, list := range []struct {
		key, what string
		values    []string
	}{
		{"audiences", "the audience of its tokens, such as api://sallyport-scim", o.Audiences},
		{"client_ids", "the ID of each application that may push", o.ClientIDs},
	} {
		if len(list.values) == 0 {
			fault("oauth."+list.key, "is missing; write "+list.what)
		}
		for i, v := range list.values {
			if v == "" {
				fault(fmt.Sprintf("oauth.%s[%d]", list.key, i), "is empty; write "+list.what)
			}
		}
	}
}
