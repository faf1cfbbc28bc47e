package manage

import (
	"strings"

	"sallyport/admin"
)

// configurationContent is what the page of the configuration shows.
type configurationContent struct {
	Replicas []admin.Configuration
	Missing  []admin.Missing // replicas that did not reply
}

// maxShownConfiguration is how many bytes of a configuration the page shows. JSON has all of it.
const maxShownConfiguration = 48 << 10

// showConfiguration serves the page of the configuration in force, on each replica.
func (h *Handler) showConfiguration(q *request) error {
	all, missing, err := h.Admin.Configurations(q.Context(), q.actor())
	if err != nil {
		return err
	}
	if q.URL.Query().Get("format") == "" {
		for i := range all {
			all[i].Text = firstLines(all[i].Text, maxShownConfiguration/max(len(all), 1))
		}
	}
	return q.show(page{Name: "configuration", Content: configurationContent{all, missing}})
}

// firstLines returns the whole lines at the beginning of a text that have at most n bytes, and says so if that is not all.
func firstLines(text string, n int) string {
	if len(text) <= n {
		return text
	}
	text = text[:n]
	return text[:strings.LastIndexByte(text, '\n')+1] + "…\n"
}
