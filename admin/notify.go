package admin

import (
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/grant"
)

// tell calls Parts.Notify.
func (a *Admin) tell(event string, data any) {
	if a.notify != nil {
		a.notify(event, data)
	}
}

// notifyRequest calls Parts.Notify about a request that was made or decided.
func (a *Admin) notifyRequest(event string, request grant.Request) {
	if a.notify == nil {
		return
	}
	u := a.whoAsked(request)
	n := RequestNotice{Request: request.ID, User: NoticeOf(u), Policy: request.Policy, Route: request.Route, Reason: request.Reason, URL: a.pageOf(request.ID)}
	if event == NoticeRequestMade {
		n.Approvers = a.addresses(request, u)
	} else {
		n.Decision, n.By, n.Why = string(request.State), request.By, request.Why
	}
	if g, err := a.grants.Grant(request.Grant); err == nil {
		n.Until = &g.Until
	}
	a.tell(event, n)
}

// addresses returns the e-mail addresses of people who may approve a request.
func (a *Admin) addresses(request grant.Request, u *directory.User) (list []string) {
	r, ok := a.inForce(time.Now().UTC()).request(request.Route, request.Policy, u)
	if !ok {
		return nil
	}
	for _, approver := range r.Approvers(a.people.candidates(r, 0), maxNames) {
		if approver.Email != "" {
			list = append(list, approver.Email)
		}
	}
	return list
}

// notifyRevoked calls Parts.Notify about a grant that somebody ended.
func (a *Admin) notifyRevoked(g grant.Grant) {
	if a.notify != nil {
		user := &directory.User{ID: g.Person.ID, UserName: g.Person.UserName}
		if u, ok := a.directory.ByID(g.Person.ID); ok {
			user = u
		}
		a.tell(NoticeGrantRevoked, GrantNotice{Grant: g.ID, User: NoticeOf(user), Policy: g.Policy, By: g.EndedBy, Why: g.Why})
	}
}

// pageOf returns the address of the page about a request.
func (a *Admin) pageOf(request string) string {
	if a.publicURL == nil {
		return ""
	}
	return strings.TrimSuffix(a.publicURL(), "/") + "/.sallyport/requests/" + request
}

// notifyCode calls Parts.Notify about a break-glass code that was armed or used, or that began no session because of err.
func (a *Admin) notifyCode(event string, armed grant.Arming, n BreakGlassNotice, err error) {
	n.User = &NoticeUser{ID: armed.User, UserName: armed.UserName}
	if u, ok := a.directory.ByID(armed.User); ok {
		*n.User = NoticeOf(u)
	}
	until := armed.Until.UTC()
	n.By, n.Why, n.Until = armed.By, armed.Reason, &until
	if err != nil {
		n.Error = shorten(err.Error())
	}
	a.tell(event, n)
}

// notifyWrongCode calls Parts.Notify about a code that is nobody's: the first, the tenth, the hundredth, since anybody may
// enter one.
func (a *Admin) notifyWrongCode(wrong int, address string) {
	power := wrong
	for power > 1 && power%10 == 0 {
		power /= 10
	}
	if power == 1 {
		a.tell(NoticeBreakGlassRefused, BreakGlassNotice{Address: address, Wrong: wrong, Error: grant.ErrCode.Error()})
	}
}
