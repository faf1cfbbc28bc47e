package flow

import (
	"net/http"
	"net/url"
	"strings"
)

// Logout is what follows a logout.
type Logout struct {
	ReturnTo   Target // where the browser goes at once, if Returns is set
	Returns    bool
	SignIn     Target // where the page afterwards offers to sign in again
	ToProvider bool   // the browser wants to sign out at the provider
	AtProvider bool   // the browser comes from there, where it has signed out
	Switch     bool   // the browser signed out there in order to sign in with another account
}

const (
	maxLogoutForm = 8 << 10
	toProvider    = "provider"
	switching     = "switch"
	logoutState   = "signed_out." // before the target that the provider sends back
	switchState   = "switch."     // likewise, where the browser goes on to sign in
)

// Logout returns what follows a logout, by its form and its query q.
func (b Browser) Logout(q url.Values, here string, hosts Hosts) (l Logout) {
	b.Request.Body = http.MaxBytesReader(b.Response, b.Request.Body, maxLogoutForm)
	if b.Request.ParseForm() == nil {
		for name, values := range b.Request.PostForm {
			if values[0] != "" {
				q[name] = values
			}
		}
	}
	l.ReturnTo, l.Returns = Parse(q.Get("return_to"), here, hosts)
	l.SignIn, l.Switch = l.ReturnTo, q.Get("at") == switching
	l.ToProvider = l.Switch || q.Get("at") == toProvider
	signIn := q.Get("sign_in")
	if carried := b.TargetIn(q.Get("state")); carried != "" {
		signIn, l.AtProvider, l.Switch = carried, true, strings.HasPrefix(q.Get("state"), switchState)
	}
	if signIn != "" {
		l.SignIn, _ = Parse(signIn, here, hosts)
	}
	return l
}

// Query returns the query that continues the logout on the login host.
func (l Logout) Query() string {
	if l.SignIn != l.ReturnTo {
		return url.Values{"sign_in": {l.SignIn.String()}}.Encode()
	}
	return url.Values{"return_to": {l.ReturnTo.String()}}.Encode()
}

// ProviderQuery returns the query with which the login host leads the browser to the provider.
func (l Logout) ProviderQuery() string {
	return url.Values{"at": {toProvider}, "sign_in": {l.SignIn.String()}}.Encode()
}

// LogoutState returns the state with which the provider sends the browser back.
func (b Browser) LogoutState(l Logout) string {
	sealed, _, _ := b.SealTarget(l.SignIn) // without it, the page afterwards is the same but for its links
	if l.Switch {
		return switchState + sealed
	}
	return logoutState + sealed
}
