package admin

import (
	"errors"
	"time"

	"sallyport/directory"
	"sallyport/grant"
)

// The errors of requests for access. Each says what to do.
var (
	ErrNoRequest       = errors.New("there is no such request, or it is not for you to see; `sallyport request list` shows them to operators")
	ErrOwnRequest      = errors.New("nobody decides about their own request; one of the approvers must, or withdraw it")
	ErrNotApprover     = errors.New("you may not decide about this request; its approvers are named beside it")
	ErrApprovedAlready = errors.New("you have approved this request already; it waits for somebody else")
	ErrDecided         = errors.New("the request is not open any more; ask again if access is still needed")
	ErrTooManyRequests = errors.New("there are too many requests: a person may have 5 open and make 20 a day; wait for decisions, or withdraw one")
	ErrTooManyGrants   = errors.New("too many grants of all people are open; end some, or wait until some have ended, then approve again")
	ErrNoApprovers     = errors.New("too few people could approve this request, so it was not made; ask whoever runs Sallyport to name approvers in the policy")
	ErrNotOffered      = errors.New("this access cannot be asked for; ask the owner of the application for a membership")
	ErrNotEligible     = errors.New("the person who asked has left, was suspended, or may not ask for this any more, so the request cannot be approved")
	ErrReason          = errors.New("say why, in one line of plain text of at most 500 bytes: it is recorded")
	ErrDuration        = errors.New("the access must last at least a minute, and no longer than the policy lets it")
	ErrNoGrant         = errors.New("there is no such grant, or it is not for you to see; `sallyport grants list` shows them to operators")
	ErrGrantEnded      = errors.New("the grant has ended already")
)

// Offer is a policy that a user may ask for.
type Offer struct {
	Policy      string         `json:"policy"`
	Route       string         `json:"route"`
	Max         time.Duration  `json:"max_ns"`
	NeedsReason bool           `json:"needs_reason"`
	Open        *grant.Request `json:"open,omitempty"`         // a request of theirs that waits
	NoApprovers bool           `json:"no_approvers,omitempty"` // too few people could approve
}

// Asking is what somebody asks for.
type Asking struct {
	User          *directory.User
	Route, Policy string
	URL           string // what the person had asked for; its query is not stored
	Reason        string
}

// RequestView is a request as those see it who made it or may decide about it.
type RequestView struct {
	grant.Request
	DisplayName   string        `json:"display_name,omitempty"` // of the person, as the directory has it now
	Max           time.Duration `json:"max_ns"`                 // the longest time of the grant
	Usual         time.Duration `json:"usual_ns"`               // its time if none is named
	Needed        int           `json:"needed"`
	Approvers     []string      `json:"approvers"`                // userNames of people who may approve, at most 20; only from Request
	LastGrant     *grant.Grant  `json:"last_grant,omitempty"`     // the person's former one of the policy; only from Request
	Others        []string      `json:"others,omitempty"`         // who else reaches the route, at most 20; only from Request, for those who decide
	OthersCount   int           `json:"others_count,omitempty"`   // only from Request
	OthersPending bool          `json:"others_pending,omitempty"` // they are being counted; never for operators
	MayDecide     bool          `json:"may_decide"`
	Mine          bool          `json:"mine"`
	Approved      bool          `json:"-"` // the actor approved it, which still counts
}
