package flow

import (
	"time"

	"sallyport/session"
)

const (
	userCookie   = session.CookieName + "-user"
	userPurpose  = "user"
	userLifetime = 7 * 24 * time.Hour
)

// RememberUser notes in the browser whose session it has on this host, so that a form is kept for that user also when the
// session is long forgotten. The note opens nothing.
func (b Browser) RememberUser(id string) {
	if sealed, err := b.Sessions.Seal(userPurpose, b.Host, []byte(id), userLifetime); err == nil { // no id is too long
		b.setCookie(userCookie, sealed, userLifetime)
	}
}

// LastUser returns the user whom RememberUser noted last; "" if there is none.
func (b Browser) LastUser() string {
	sealed, _ := session.OneCookie(b.Request.Header, userCookie)
	id, err := b.Sessions.Unseal(userPurpose, b.Host, sealed)
	if err != nil {
		return ""
	}
	return string(id)
}
