// Package stepup writes and reads what a rule demands of a login: in the parameters of the address where people sign in,
// and in the challenge for programs.
package stepup

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sallyport/policy"
)

// The parameters of the login address. A list has its values one by one.
const (
	paramAge     = "max_age"
	paramACR     = "acr"
	paramAMR     = "amr"
	paramContext = "context"
)

// minAge and maxAge bound max_age: every age that a rule can demand is between them. Were such an age ignored, the browser
// would be sent to and fro between the page and a login address that sees no need for another login.
const (
	minAge = time.Minute
	maxAge = time.Duration(math.MaxInt64)
)

// SetParameters adds what l demands to the parameters of the login address. A nil l demands nothing.
func SetParameters(q url.Values, l *policy.Login) {
	if l == nil {
		return
	}
	if l.MaxAge > 0 {
		q.Set(paramAge, strconv.Itoa(int(l.MaxAge/time.Second)))
	}
	for param, values := range map[string][]string{paramACR: l.ACR, paramAMR: l.AMR, paramContext: l.Context} {
		if len(values) > 0 {
			q[param] = values
		}
	}
}

// FromParameters returns what the parameters of the login address demand. Whoever writes a link to that address can
// demand more of a login, but not less: the rules decide about the session afterwards. What no rule could demand is
// ignored.
func FromParameters(q url.Values) policy.Login {
	l := policy.Login{MaxAge: ageIn(q), ACR: q[paramACR], AMR: q[paramAMR], Context: q[paramContext]}
	if !l.Valid() {
		return policy.Login{MaxAge: l.MaxAge}
	}
	return l
}

func ageIn(q url.Values) time.Duration {
	seconds, err := strconv.Atoi(q.Get(paramAge))
	if err != nil || seconds < int(minAge/time.Second) || seconds > int(maxAge/time.Second) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// Challenge returns the parameters of a WWW-Authenticate header that asks a program for another login (RFC 9470 §3), and
// for Entra's authentication context as Microsoft's libraries read it
// (https://learn.microsoft.com/entra/identity-platform/claims-challenge). A nil l says no more than that.
func Challenge(description string, l *policy.Login) string {
	value := fmt.Sprintf(`error="insufficient_user_authentication", error_description="%s"`, description)
	if l == nil {
		return value
	}
	if l.MaxAge > 0 {
		value += fmt.Sprintf(", max_age=%d", l.MaxAge/time.Second)
	}
	if len(l.ACR) > 0 {
		value += fmt.Sprintf(`, acr_values="%s"`, strings.Join(l.ACR, " "))
	}
	if len(l.Context) > 0 {
		claims, _ := json.Marshal(map[string]any{"access_token": map[string]any{"acrs": map[string]any{"essential": true, "value": l.Context[0]}}})
		value += fmt.Sprintf(`, claims="%s"`, base64.StdEncoding.EncodeToString(claims))
	}
	return value
}
