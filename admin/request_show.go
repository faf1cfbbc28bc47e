package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport/access"
)

// RequestShown is what the record has of one request, and its decision explained as it was made and as it would be made now.
type RequestShown struct {
	Request string              `json:"request"`
	Story   RequestStory        `json:"story"`
	Then    *Then               `json:"then,omitempty"`    // nil: the decision was not found
	Changed bool                `json:"changed,omitempty"` // by the directory of then and the rules of now, it would have been decided otherwise
	Now     *access.Explanation `json:"now,omitempty"`
	Problem string              `json:"problem,omitempty"` // why Now cannot be said
}

// ErrUnrecorded means that the record has nothing about a request.
var ErrUnrecorded = errors.New("the record has nothing about this request; requests of nobody who is signed in are denied without a line in it")

// ShowRequest looks for a request in the records of all replicas for a time, and explains its decision. If it found nothing, the
// error is [ErrUnrecorded], or says back to when it looked.
func (a *Admin) ShowRequest(ctx context.Context, actor Actor, id string, within time.Duration) (shown RequestShown, err error) {
	shown.Request = id
	events := map[string]bool{}
	var all []Decided
	for end, before, seen := time.Now().Add(within), "", ""; ; {
		story, err := a.FindRequest(ctx, actor, id, before, seen)
		if err != nil {
			return shown, err
		}
		for _, e := range story.Events {
			if key := fmt.Sprint(e.Of, " ", e.Seq); !events[key] {
				events[key] = true
				all = append(all, e)
			}
		}
		shown.Story = story
		if story.Next == "" || story.Next == before || !time.Now().Before(end) || ctx.Err() != nil {
			break
		}
		before, seen = story.Next, story.Seen
	}
	shown.Story.keep(all)
	if err := ctx.Err(); err != nil {
		return shown, err
	}
	if d := shown.Story.Decision; d != nil {
		a.explainShown(ctx, actor, &shown, *d)
		return shown, nil
	}
	if len(all) > 0 {
		return shown, nil
	}
	if shown.Story.Next != "" {
		return shown, fmt.Errorf("nothing about this request was found in the records since %s; older lines were not looked at", shown.Story.Reached.UTC().Format(time.RFC3339))
	}
	return shown, ErrUnrecorded
}

// explainShown explains a decision as it was made, and as it would be made now.
func (a *Admin) explainShown(ctx context.Context, actor Actor, shown *RequestShown, d Decided) {
	then := a.AsDecided(ctx, actor, d)
	shown.Then = &then
	shown.Changed = then.Explanation != nil && then.Explanation.Allow != (d.Decision == "allow")
	q := Question{User: d.User, Method: d.Method, URL: "https://" + d.Host + d.Path, Address: d.Address}
	if app, ok := strings.CutPrefix(d.UserName, appPrefix); ok && d.User == "" {
		q.App = app
	}
	now, err := a.Explain(ctx, actor, q)
	if err != nil {
		shown.Problem = err.Error()
		return
	}
	shown.Now = &now
}

// keep replaces the events of a story by all that several steps found.
func (s *RequestStory) keep(all []Decided) {
	s.Events, s.Decision, s.Cut = []Decided{}, nil, nil
	for _, e := range all {
		s.add(e)
	}
	s.sort()
}
