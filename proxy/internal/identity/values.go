package identity

import (
	"net/http"
	"strings"

	"sallyport/proxy/internal/header"
)

// Caller is whom the headers of a request describe.
type Caller struct {
	App                   string // the client ID of an application that calls for itself; "" if a user calls
	UserName, Email, Name string
	Groups                []string // as the route calls them
}

// Set sets the headers that describe c, except the assertion. Values are ASCII: any other byte, and "%", is
// percent-encoded (RFC 3986 §2.1).
func (h Headers) Set(to http.Header, c Caller) {
	set := func(name, value string) {
		if name != "" && value != "" {
			to[name] = []string{value}
		}
	}
	if c.App != "" {
		set(h.User, header.Value(AppName(c.App)))
		return
	}
	set(h.User, UserValue(c.UserName))
	set(h.Login, UserValue(h.login(c.UserName)))
	set(h.Email, header.Value(c.Email))
	set(h.Name, header.Value(c.Name))
	if h.Groups != "" {
		set(h.Groups, h.GroupList(c.Groups))
	}
}

// login returns the login name of a user. No two users have the same: a name that is left without its domain has no @, and
// one that has none as it is would look like one, and gets no login.
func (h Headers) login(userName string) string {
	at := strings.LastIndexByte(userName, '@')
	switch {
	case h.Domain == "":
		return userName
	case at < 0:
		return ""
	case at > 0 && strings.EqualFold(userName[at+1:], h.Domain) && strings.IndexByte(userName, '@') == at:
		return userName[:at]
	}
	return userName
}

// appPrefix begins the name of an application where users have their userName. No userName that is sent to an upstream
// begins with it (UserValue).
const appPrefix = "app:"

// AppName returns the name of the application with a client ID.
func AppName(id string) string { return appPrefix + id }

// UserValue returns the header value of a userName. It never equals that of an application.
func UserValue(userName string) string {
	if rest, ok := strings.CutPrefix(userName, appPrefix); ok {
		return header.Value(strings.TrimSuffix(appPrefix, ":")) + "%3A" + header.Value(rest)
	}
	return header.Value(userName)
}

// GroupList joins groups by commas. Whatever could end an element is encoded inside a group.
func (h Headers) GroupList(groups []string) string {
	list := make([]string, len(groups))
	for i, g := range groups {
		if h.GroupNames {
			list[i] = header.WordValue(g)
		} else {
			list[i] = header.ListValue(g)
		}
	}
	return strings.Join(list, ",")
}
