package manage

import "sallyport/admin"

// overviewContent is what the first page shows.
type overviewContent struct {
	Stats admin.Stats
}

// overview serves the first page.
func (h *Handler) overview(q *request) error {
	stats, err := h.Admin.Stats(q.Context(), q.actor())
	if err != nil {
		return err
	}
	return q.show(page{Name: "overview", Content: overviewContent{stats}})
}
