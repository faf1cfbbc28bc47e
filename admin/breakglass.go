package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/session"
)

// The reasons of events about break-glass codes, beside reasonFailed.
const (
	codeArmed    = "armed"
	codeDisarmed = "disarmed"
	codeUsed     = "used"
)

// loginByCode is the reason of the login that begins a break-glass session.
const loginByCode = "break_glass"

// maxWrongCodes bounds the wrong codes that are recorded: anybody may enter one.
const maxWrongCodes = 100

// BreakGlassCode is a code that was just armed. It is shown once.
type BreakGlassCode struct {
	User     string    `json:"user"`
	UserName string    `json:"userName"`
	Code     string    `json:"code"`
	Address  string    `json:"address,omitempty"` // of the page where it is entered
	Enter    time.Time `json:"enterBefore"`
	Until    time.Time `json:"until"` // when the session ends at the latest
}

// ArmBreakGlass makes a code with which a user may begin one session without a login at the identity provider, and which
// ends after lasting. It replaces the code that the user has. user is a name as in [Admin.Suspend].
func (a *Admin) ArmBreakGlass(ctx context.Context, actor Actor, user, why string, lasting time.Duration) (BreakGlassCode, error) {
	if a.breakGlass == nil {
		return BreakGlassCode{}, errNoMemory
	}
	why, err := text(why, true)
	if err != nil {
		return BreakGlassCode{}, err
	}
	if lasting < grant.MinLasting || lasting > grant.MaxLasting {
		return BreakGlassCode{}, fmt.Errorf("a break-glass session lasts between %s and %s; write for example --for 1h", "1m", "12h")
	}
	u, err := a.activeUser(ctx, user)
	if err != nil {
		return BreakGlassCode{}, err
	}
	armed := BreakGlassCode{User: u.ID, UserName: u.UserName}
	e := audit.Event{Kind: audit.KindBreakGlass, User: u.ID, UserName: u.UserName, Reason: codeArmed,
		Detail: map[string]string{"why": why, "for": lasting.String()}}
	var complete grant.Arming
	err = a.perform(ctx, actor, action{event: e, adds: true}, func(context.Context) (err error) {
		armed.Code, complete, err = a.breakGlass.Arm(grant.Arming{User: u.ID, UserName: u.UserName, Epoch: u.Epoch, By: actor.Name, Reason: why}, lasting)
		armed.Enter, armed.Until = complete.Enter.UTC(), complete.Until.UTC()
		return err
	})
	if err != nil {
		return BreakGlassCode{}, err
	}
	a.notifyCode(NoticeBreakGlassArmed, complete, BreakGlassNotice{Enter: &armed.Enter}, nil)
	a.log.WarnContext(ctx, "a break-glass code is armed", "user", u.ID, "by", actor.Name, "until", armed.Until)
	return armed, nil
}

var errNoMemory = fmt.Errorf("%w, and a break-glass code lives in the memory of the server alone; start the server, which needs no identity provider for that, and try again", ErrNoServer)

// activeUser returns what memory has of the user with this name, who may sign in.
func (a *Admin) activeUser(ctx context.Context, name string) (*directory.User, error) {
	found, err := a.findUser(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := a.directory.Fresh(); err != nil {
		return nil, err
	}
	u, ok := a.directory.ByID(found.ID)
	if !ok {
		return nil, fmt.Errorf("%s is being deleted", found.UserName)
	}
	switch u.Barred() {
	case "":
		return u, nil
	case "suspended":
		return nil, fmt.Errorf("%s is suspended and could use nothing; `sallyport users unsuspend` ends that", u.UserName)
	case "inactive_user":
		return nil, fmt.Errorf("%s is not active and could use nothing: the identity provider deactivated the account", u.UserName)
	}
	return nil, fmt.Errorf("the record of the user %s is damaged, so they could use nothing; restore a backup", found.ID)
}

// DisarmBreakGlass makes the code of a user invalid. A session that the code began goes on. user is a name as in
// [Admin.Suspend].
func (a *Admin) DisarmBreakGlass(ctx context.Context, actor Actor, user string) error {
	if a.breakGlass == nil {
		return fmt.Errorf("no code is armed: %w", errNoMemory)
	}
	u, err := a.findUser(ctx, user)
	if err != nil {
		return err
	}
	none := fmt.Errorf("no break-glass code is armed for %s: it was used, has expired, or the server was restarted; `sallyport sessions end --user` ends a session", u.UserName)
	if !a.breakGlass.Has(u.ID) {
		return none
	}
	e := audit.Event{Kind: audit.KindBreakGlass, User: u.ID, UserName: u.UserName, Reason: codeDisarmed}
	return a.perform(ctx, actor, action{event: e}, func(context.Context) error {
		had, err := a.breakGlass.Disarm(u.ID)
		if err == nil && !had {
			err = none
		}
		return err
	})
}

// BreakGlassArmed reports whether there is a code that may be entered.
func (a *Admin) BreakGlassArmed() bool { return a.breakGlass != nil && a.breakGlass.Armed() }

// Browser is the browser that a session begins in.
type Browser struct {
	Host    string // whose cookie it gets
	Address string
	Agent   string
	Request string // the id of its request
	Session string // the id of the session that it has, which ends; "" for none
}

// RedeemBreakGlass begins the session that a code permits, and returns it with the token for the cookie of the browser's
// host. It returns [grant.ErrCode] if the code is not valid, or no longer, or if its user may not use anything now.
func (a *Admin) RedeemBreakGlass(ctx context.Context, code string, in Browser) (s session.Session, token string, err error) {
	if a.breakGlass == nil {
		return s, "", grant.ErrCode
	}
	armed, wrong, err := a.breakGlass.Find(code)
	if errors.Is(err, grant.ErrCode) {
		a.recordWrongCode(ctx, wrong, in)
	}
	if err != nil {
		return s, "", err
	}
	if err := a.directory.Fresh(); err != nil {
		return s, "", err
	}
	e := audit.Event{Kind: audit.KindBreakGlass, User: armed.User, UserName: armed.UserName, Reason: codeUsed, Address: in.Address, Request: in.Request,
		Detail: map[string]string{"why": armed.Reason, "armed_by": armed.By, "until": armed.Until.UTC().Format(time.RFC3339)}}
	actor := Actor{Kind: audit.ActorUser, Name: armed.UserName, Address: in.Address}
	err = a.perform(ctx, actor, action{event: e, local: true}, func(ctx context.Context) (err error) {
		used, err := a.breakGlass.Use(code)
		if err != nil {
			return err
		}
		armed = used
		u, err := a.userArmed(armed)
		if err != nil {
			return errors.Join(grant.ErrCode, err)
		}
		armed.UserName = u.UserName // which may have changed
		s, token, err = a.beginBreakGlass(ctx, armed, in)
		return err
	})
	if err != nil {
		a.notifyCode(NoticeBreakGlassRefused, armed, BreakGlassNotice{Address: in.Address}, err)
		a.log.WarnContext(ctx, "a break-glass code was entered, and no session began", "user", armed.User, "err", err, "request", in.Request)
		return session.Session{}, "", err
	}
	a.notifyCode(NoticeBreakGlassUsed, armed, BreakGlassNotice{Address: in.Address, Session: s.ID}, nil)
	a.log.WarnContext(ctx, "a break-glass code was used", "user", s.User, "session", s.ID, "address", in.Address, "until", s.Expires, "request", in.Request)
	return s, token, nil
}

// userArmed returns the user of a code, or why they may not begin a session now.
func (a *Admin) userArmed(armed grant.Arming) (*directory.User, error) {
	u, ok := a.directory.ByID(armed.User)
	switch {
	case !ok:
		return nil, errors.New("the user was deleted")
	case u.Barred() != "":
		return nil, errors.New("the user may use nothing: " + u.Barred())
	case u.Epoch != armed.Epoch:
		return nil, errors.New("the user was deactivated or suspended since the code was armed")
	}
	return u, nil
}

// beginBreakGlass begins the session of a code that was used, and records it as a login. A user who ends meanwhile has
// another epoch than the session.
func (a *Admin) beginBreakGlass(ctx context.Context, armed grant.Arming, in Browser) (s session.Session, token string, err error) {
	s, err = a.sessions.BeginBreakGlass(ctx, session.Session{User: armed.User, Epoch: armed.Epoch, UserName: armed.UserName,
		Address: in.Address, Agent: in.Agent}, armed.Reason, armed.Until)
	if err != nil {
		return s, "", err
	}
	login := audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogin, User: s.User, UserName: s.UserName, Session: s.ID, Address: in.Address, Host: in.Host,
		Request: in.Request, Decision: "allow", Reason: loginByCode, Revision: a.directory.Revision()}
	if err := a.audit.Write(login); err != nil {
		return s, "", errors.Join(fmt.Errorf("%w: %w", ErrNotRecorded, err), a.sessions.End(ctx, s.ID, session.ReasonReplaced))
	}
	if in.Session != "" {
		if err := a.sessions.End(ctx, in.Session, session.ReasonReplaced); err != nil && !errors.Is(err, session.ErrNone) {
			return s, "", err
		}
	}
	token, err = a.sessions.NewToken(ctx, s.ID, in.Host)
	return s, token, err
}

// recordWrongCode records and logs a code that is not valid, the first maxWrongCodes of them.
func (a *Admin) recordWrongCode(ctx context.Context, wrong int, in Browser) {
	if wrong > maxWrongCodes {
		return
	}
	err := a.audit.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindBreakGlass, Reason: reasonFailed, Address: in.Address, Host: in.Host,
		Request: in.Request, Detail: map[string]string{"wrong_codes": strconv.Itoa(wrong)}})
	if err != nil {
		a.log.ErrorContext(ctx, "audit event not written", "err", err, "request", in.Request)
	}
	a.notifyWrongCode(wrong, in.Address)
	a.log.WarnContext(ctx, "a break-glass code was entered that is not valid", "address", in.Address, "count", wrong, "request", in.Request)
}
