package scim

import "context"

// WriteLog writes the provisioning log now.
func (s *Server) WriteLog(ctx context.Context) { s.writeLog(ctx) }
