package manage

import (
	"net/url"
	"strings"

	"sallyport/admin"
	"sallyport/directory"
)

// hit is what a search found, with where it leads.
type hit struct {
	Kind  string `json:"kind"`  // as the text search.kind.KIND names it
	Label string `json:"label"` // that text
	Title string `json:"title"`
	Note  string `json:"note,omitempty"`
	State string `json:"state,omitempty"` // of a person who may use nothing
	Path  string `json:"path"`
}

// searchContent is what the page of a search shows.
type searchContent struct {
	Search string `json:"-"`
	Hits   []hit  `json:"hits"`
}

// How many hits of each kind a search returns: for the palette, which asks as somebody types, and for its page.
const (
	paletteHits = 6
	pageHits    = 50
)

// search serves the page of a search, and the palette, which reads it as JSON.
func (h *Handler) search(q *request) error {
	text := strings.TrimSpace(q.URL.Query().Get("q"))
	limit := pageHits
	if q.URL.Query().Get("format") == "json" {
		limit = paletteHits
	}
	found, err := h.Admin.Search(q.Context(), q.actor(), text, limit)
	if err != nil {
		return err
	}
	c := searchContent{Search: text, Hits: []hit{}}
	for _, f := range found {
		title := f.Title
		state := ""
		if f.State != "" {
			state = h.say("search.state." + f.State)
		}
		if f.Kind == admin.HitDecision {
			title = h.say("search.decision", f.ID[:8])
		}
		c.Hits = append(c.Hits, hit{string(f.Kind), h.say("search.kind." + string(f.Kind)), clip(title), clip(f.Note), state, Path + hitPath(f)})
	}
	c.Hits = append(c.Hits, h.searchPages(text)...)
	return q.show(page{Name: "search", Content: c})
}

// hitPath returns where a hit leads, below [Path].
func hitPath(f admin.Hit) string {
	id := url.PathEscape(f.ID)
	switch f.Kind {
	case admin.HitUser:
		return "/people/" + id
	case admin.HitGroup:
		return "/groups/" + id
	case admin.HitRoute:
		return "/routes/" + id
	case admin.HitRequest:
		return "/requests/" + id
	case admin.HitGrant:
		return "/requests/grants/" + id
	case admin.HitDecision:
		return "/decisions/" + id
	}
	return "/"
}

// searchPages returns the pages of the console of whose title a text is a part; all of them for "".
func (h *Handler) searchPages(text string) (hits []hit) {
	label, folded := h.say("search.kind.page"), directory.Fold(text)
	add := func(title, path string) {
		if strings.Contains(directory.Fold(title), folded) {
			hits = append(hits, hit{Kind: "page", Label: label, Title: title, Path: Path + path})
		}
	}
	for _, s := range sections {
		add(h.say(s.Name+".title"), s.Path)
	}
	add(h.say("whynot.title"), "/why")
	return hits
}
