package admin

import (
	"time"

	"sallyport/directory"
)

// The events that [Parts.Notify] is called with, each with the data that docs/webhooks.md describes.
const (
	NoticeRequestMade    = "request.made"    // [RequestNotice]
	NoticeRequestDecided = "request.decided" // [RequestNotice]
	NoticeGrantRevoked   = "grant.revoked"   // [GrantNotice]

	NoticeConfigRefused     = "config.refused"     // [ConfigNotice]
	NoticeBreakGlassArmed   = "breakglass.armed"   // [BreakGlassNotice]
	NoticeBreakGlassUsed    = "breakglass.used"    // [BreakGlassNotice]
	NoticeBreakGlassRefused = "breakglass.refused" // [BreakGlassNotice]
)

// NoticeUser is the user whom a notice is about.
type NoticeUser struct {
	ID       string `json:"id"`
	UserName string `json:"userName"`
	Name     string `json:"name,omitempty"`
}

// NoticeOf returns what a notice says of u.
func NoticeOf(u *directory.User) NoticeUser { return NoticeUser{u.ID, u.UserName, u.DisplayName} }

// RequestNotice tells of a request for access. It leaves Sallyport, so it holds no secret and no query.
type RequestNotice struct {
	Request   string     `json:"request"` // its id
	User      NoticeUser `json:"user"`    // who asks
	Policy    string     `json:"policy"`
	Route     string     `json:"route"`
	Reason    string     `json:"reason,omitempty"`
	URL       string     `json:"url"`                 // of the page on which it is decided
	Approvers []string   `json:"approvers,omitempty"` // e-mail addresses, at most 20; only when it was made
	Decision  string     `json:"decision,omitempty"`  // its state; only when it was decided
	By        string     `json:"by,omitempty"`        // who decided
	Why       string     `json:"why,omitempty"`       // what they said
	Until     *time.Time `json:"until,omitempty"`     // the end of the grant
}

// GrantNotice tells of a grant that somebody ended before its time.
type GrantNotice struct {
	Grant  string     `json:"grant"` // its id
	User   NoticeUser `json:"user"`
	Policy string     `json:"policy"`
	By     string     `json:"by"`
	Why    string     `json:"why,omitempty"`
}

// ConfigNotice tells of a configuration that has faults, so that the former one stays in force.
type ConfigNotice struct {
	By    Actor  `json:"by"` // who had it read
	Error string `json:"error"`
}

// BreakGlassNotice tells of a break-glass code, but not which it is.
type BreakGlassNotice struct {
	User    *NoticeUser `json:"user,omitempty"` // nil: the code that was entered is nobody's
	By      string      `json:"by,omitempty"`   // who armed it
	Why     string      `json:"why,omitempty"`
	Until   *time.Time  `json:"until,omitempty"`       // when the session ends at the latest
	Enter   *time.Time  `json:"enterBefore,omitempty"` // only when it was armed
	Address string      `json:"address,omitempty"`     // where it was entered
	Session string      `json:"session,omitempty"`     // only when it was used: the id of the session, for sessions end
	Wrong   int         `json:"wrongCodes,omitempty"`  // how many codes were wrong since one was armed
	Error   string      `json:"error,omitempty"`       // why no session began
}
