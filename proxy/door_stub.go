package proxy

import "net/http"

// serveDoor answers the door's own paths: signing in and out, who one is, keys.
func (p *Proxy) serveDoor(w http.ResponseWriter, r *http.Request, v *visit) {
	p.refuse(w, r, v, *refused(noRoute, "the door's own paths are not here yet"))
}

// refuse answers no.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, v *visit, x refusal) {
	http.Error(w, x.reason, x.status)
}
