package manage

import (
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"time"

	"sallyport/admin"
	"sallyport/duration"
)

// tokensContent is the page of provisioning tokens.
type tokensContent struct {
	Tabs  []tab
	Times []choice // for which a token may be valid
	Once  string   // see [once]
}

// tokenTimes are the times for which a token may be valid: the usual one first; 0 is for ever.
var tokenTimes = []string{"365d", "180d", "90d", "30d", "0"}

// overlaps are the times for which the former token goes on after a rotation.
var overlaps = []string{"24h", "1h", "7d", "0"}

// tokens serves the list of provisioning tokens.
func (h *Handler) tokens(q *request) error {
	tabs, err := q.provisioningTabs("tokens")
	if err != nil {
		return err
	}
	list, err := h.Admin.Tokens(q.Context(), q.actor())
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b admin.Token) int { return b.Created.Compare(a.Created) })
	t := h.table("tokens", "name", "state", "created", "expires", "last_used", "issued_for", "id")
	t.Empty = h.say("tokens.empty")
	t.Columns[len(t.Columns)-1].Data = true // the page of a token has its id
	for _, token := range paged(t, list, q.URL.Query()) {
		name := token.Name
		if name == "" {
			name = token.ID
		}
		t.Rows = append(t.Rows, []Cell{link(name, "/provisioning/tokens/"+token.ID), h.tokenState(token), at(token.Created), timeCell(token.Expires, h.say("tokens.never")),
			timeCell(token.LastUsed, h.say("tokens.unused")), text(token.Issued), {Text: token.ID, Code: true}})
	}
	return q.show(page{Name: "tokens", Content: tokensContent{tabs, h.choices("tokens.for.", "365d", tokenTimes), h.once.issue()}, Table: t})
}

// tokenState says whether a token is valid.
func (h *Handler) tokenState(t admin.Token) Cell {
	switch {
	case t.Damaged:
		return Cell{Text: h.say("tokens.state.damaged"), Mark: "no"}
	case t.Expired:
		return Cell{Text: h.say("tokens.state.expired"), Mark: "no"}
	case t.Expires != nil && time.Until(*t.Expires) < expiresSoon:
		return Cell{Text: h.say("tokens.state.soon"), Mark: "fault"}
	}
	return Cell{Text: h.say("tokens.state.valid"), Mark: "yes"}
}

// expiresSoon is how long before its end a token is marked.
const expiresSoon = 30 * 24 * time.Hour

// timeCell returns a cell of a time, or a text if there is none.
func timeCell(t *time.Time, none string) Cell {
	if t == nil {
		return Cell{Text: none, Mark: "quiet"}
	}
	return at(*t)
}

// tokenContent is the page of one token.
type tokenContent struct {
	Token    admin.Token
	State    Cell
	Times    []choice
	Overlaps []choice
	Once     string
}

// tokenPage serves one token, with what can be done with it.
func (h *Handler) tokenPage(q *request) error {
	token, ok, err := h.findToken(q)
	switch {
	case err != nil:
		return err
	case !ok:
		return q.missing(h.say("tokens.gone"), "/provisioning/tokens")
	}
	name := token.Name
	if name == "" {
		name = token.ID
	}
	return q.show(page{Name: "token", Title: h.say("token.title", name), Content: tokenContent{token, h.tokenState(token),
		h.choices("tokens.for.", "365d", tokenTimes), h.choices("tokens.overlap.", "24h", overlaps), h.once.issue()}})
}

// findToken returns the token whose id is in the path of the request.
func (h *Handler) findToken(q *request) (admin.Token, bool, error) {
	list, err := h.Admin.Tokens(q.Context(), q.actor())
	i := slices.IndexFunc(list, func(t admin.Token) bool { return t.ID == q.PathValue("id") })
	if err != nil || i < 0 {
		return admin.Token{}, false, err
	}
	return list[i], true, nil
}

// madeContent is the page that shows the text of a token, once.
type madeContent struct {
	Token   admin.Token
	Secret  string
	Rotated bool
}

// createToken makes a token, and responds with the page that shows its text: no address has it, and nothing keeps it.
func (h *Handler) createToken(q *request) error {
	const back = "/provisioning/tokens"
	ttl, err := duration.Parse(q.PostForm.Get("for"))
	if err != nil || !slices.Contains(tokenTimes, q.PostForm.Get("for")) {
		return q.failed(http.StatusUnprocessableEntity, h.say("tokens.choose_time"), back)
	}
	if !h.once.use(q.PostForm.Get("once")) {
		return q.failed(http.StatusConflict, h.say("tokens.twice"), back)
	}
	token, err := h.Admin.CreateToken(q.Context(), q.actor(), q.PostForm.Get("name"), ttl)
	return h.showSecret(q, token, err, false, back)
}

// rotateToken makes the successor of a token, as [Handler.createToken] does.
func (h *Handler) rotateToken(q *request) error {
	back := "/provisioning/tokens/" + q.PathValue("id")
	ttl, err := duration.Parse(q.PostForm.Get("for"))
	if err != nil || !slices.Contains(tokenTimes, q.PostForm.Get("for")) {
		return q.failed(http.StatusUnprocessableEntity, h.say("tokens.choose_time"), back)
	}
	overlap, err := duration.Parse(q.PostForm.Get("overlap"))
	if err != nil || !slices.Contains(overlaps, q.PostForm.Get("overlap")) {
		return q.failed(http.StatusUnprocessableEntity, h.say("tokens.choose_time"), back)
	}
	if _, ok, err := h.findToken(q); err != nil || !ok { // by its id alone: another may have that name
		return q.failed(http.StatusNotFound, h.say("tokens.gone"), "/provisioning/tokens")
	}
	if !h.once.use(q.PostForm.Get("once")) {
		return q.failed(http.StatusConflict, h.say("tokens.twice"), back)
	}
	token, err := h.Admin.RotateToken(q.Context(), q.actor(), q.PathValue("id"), ttl, overlap)
	return h.showSecret(q, token, err, true, back)
}

func (h *Handler) showSecret(q *request, token admin.Token, err error, rotated bool, back string) error {
	if err != nil {
		return q.finish(err, back, "", back)
	}
	q.Header().Set("Cache-Control", "no-store")
	return h.render(q, page{Name: "token_made", Title: h.say("token_made.title", token.Name), Content: madeContent{token, string(token.Text), rotated}})
}

// revokeToken revokes a token, if whoever asks for it has said that they are sure.
func (h *Handler) revokeToken(q *request) error {
	back := "/provisioning/tokens/" + q.PathValue("id")
	if q.PostForm.Get("sure") == "" {
		return q.failed(http.StatusUnprocessableEntity, h.say("token.unsure"), back)
	}
	if _, ok, err := h.findToken(q); err != nil || !ok {
		return q.failed(http.StatusNotFound, h.say("tokens.gone"), "/provisioning/tokens")
	}
	_, err := h.Admin.RevokeToken(q.Context(), q.actor(), q.PathValue("id"))
	return q.finish(err, "/provisioning/tokens", "revoked_token", back)
}

// once keeps forms from being sent twice, as by a browser that loads a page again which a form led to. It remembers which
// were sent lately.
type once struct {
	mu   sync.Mutex // guards sent
	sent []string
}

// maxSent bounds how many forms are remembered.
const maxSent = 1000

// issue returns the mark of a new form.
func (o *once) issue() string { return rand.Text() }

// use reports whether a form with this mark was not sent before.
func (o *once) use(mark string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if mark == "" || len(mark) > 100 || slices.Contains(o.sent, mark) {
		return false
	}
	if len(o.sent) == maxSent {
		o.sent = o.sent[1:]
	}
	o.sent = append(o.sent, mark)
	return true
}
