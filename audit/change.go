package audit

// What the detail of a directory change of a replica has, so that a change that is in no record of any replica is noticed.
const (
	DetailFormer        = "former"         // the revision of the change that was recorded before, by whichever replica
	DetailFormerReplica = "former_replica" // the replica that made that change
	DetailRecordedFor   = "recorded_for"   // the lost replica that made the change, if another one recorded it
	DetailDoubt         = "doubt"          // why the change may be in another record, too
)
