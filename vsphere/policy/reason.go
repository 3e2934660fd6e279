package policy

// A Reason is why something is not done to a machine now. They are part of
// what programs read: a name does not change.
type Reason string

// What of the machine itself is in the way.
const (
	Protected      Reason = "protected"
	MatchUnknown   Reason = "match-unknown"
	OnKeyPath      Reason = "key-path"
	Template       Reason = "template"
	Unreadable     Reason = "unreadable"
	Locked         Reason = "locked"
	Disconnected   Reason = "disconnected"
	Inaccessible   Reason = "inaccessible"
	Busy           Reason = "busy"
	PoweredOn      Reason = "powered-on"
	Suspended      Reason = "suspended"
	HasSnapshots   Reason = "snapshots"
	SnapshotTree   Reason = "snapshot-tree"
	OldHardware    Reason = "hardware"
	LinkedClone    Reason = "linked-clone"
	RawDisk        Reason = "rdm"
	SharedDisk     Reason = "multi-writer"
	FaultTolerance Reason = "ft"
	IDEDisk        Reason = "ide"
	NoSuchDisk     Reason = "no-such-disk"
	HostIncapable  Reason = "host-incapable"
	HostPending    Reason = "host-pending"
	HostAway       Reason = "host-away"
	NoSpace        Reason = "space"
	SpaceUnknown   Reason = "space-unknown"
	VMotionFixed   Reason = "vmotion-fixed"
	OtherProvider  Reason = "other-provider"
	KeyMissing     Reason = "key-missing"
	KeyDestroyed   Reason = "key-destroyed"
	AgeUnknown     Reason = "age-unknown"
)

// What else is in the way.
const (
	KeyPathUnknown   Reason = "key-path-unknown"
	Paused           Reason = "paused"
	AnotherAgent     Reason = "another-agent"
	NoPrivilege      Reason = "no-privilege"
	FactsUnread      Reason = "unread"
	NoBackup         Reason = "no-backup"
	ServerNotReady   Reason = "server-not-ready"
	ProbeFailed      Reason = "probe-failed"
	NoProvider       Reason = "no-provider"
	ProviderNotGreen Reason = "provider-not-green"
	ProviderForeign  Reason = "provider-foreign"
	NoStoragePolicy  Reason = "no-storage-policy"
	PlainPolicy      Reason = "storage-policy-plain"
	OutsideWindow    Reason = "window"
	SelectionJumped  Reason = "selection-jumped"
	CanaryFirst      Reason = "canary"
	Limit            Reason = "limit"
	Failed           Reason = "failed"
)

// What is wrong though nothing is to be done about it here.
const (
	KeyPathEncrypted Reason = "key-path-encrypted"
	MachineLocked    Reason = "machine-locked"
	KeyCompromised   Reason = "key-compromised"
	PolicyDiffers    Reason = "storage-policy-differs"
	HomeOnly         Reason = "home-only"
	HostKeyMissing   Reason = "host-key-missing"
)

// reasons says of each whether it waits for a person, and what to do.
var reasons = map[Reason]struct {
	person bool
	todo   string
}{
	Protected:      {true, "the policy protects it; take it out of protect, or out of the rule"},
	MatchUnknown:   {true, "protect or a rule goes by its addresses or its pool, which are not known: what is off has none; go by name, path, tag or uuid there"},
	OnKeyPath:      {true, "keys depend on this machine: it is never encrypted; leave it out of the rule"},
	Template:       {true, "make it a machine, and a template again afterwards"},
	Unreadable:     {true, "see in vCenter why its configuration cannot be read"},
	Locked:         {true, "bring its key back to the key server, then unlock it"},
	Disconnected:   {false, "connect its host"},
	Inaccessible:   {true, "bring its datastore back, or register it anew"},
	Busy:           {false, "it is done when the task is"},
	PoweredOn:      {false, "shut it down, or set onPoweredOn: shutdown and windows"},
	Suspended:      {false, "resume it and shut it down"},
	HasSnapshots:   {false, "delete its snapshots"},
	SnapshotTree:   {false, "delete snapshots until a single chain is left"},
	OldHardware:    {true, "upgrade its virtual hardware, or lower minimumHardware"},
	LinkedClone:    {true, "make it a full clone"},
	RawDisk:        {true, "a raw disk cannot be encrypted; leave it out with disks, or move it to a virtual disk"},
	SharedDisk:     {true, "a disk that machines share cannot be encrypted; leave it out with disks"},
	FaultTolerance: {true, "turn Fault Tolerance off"},
	IDEDisk:        {false, "shut it down: a disk on IDE cannot be recrypted while it runs"},
	NoSuchDisk:     {true, "correct the label in disks"},
	HostIncapable:  {true, "move it to a host that can encrypt"},
	HostPending:    {false, "reboot its host: its encryption mode is being turned off"},
	HostAway:       {false, "bring its host back"},
	NoSpace:        {true, "free space on the datastore: encrypting writes each disk a second time"},
	SpaceUnknown:   {true, "see whether the agent may read the datastore"},
	VMotionFixed:   {true, "vSphere fixes the encrypted vMotion of what is encrypted to required; correct the rule"},
	OtherProvider:  {true, "add rekey to the rule to move it to the provider that the rule names"},
	KeyMissing:     {true, "restore the key to the key server from a backup"},
	KeyDestroyed:   {true, "bring the key back: keyreeve key recover"},
	AgeUnknown:     {false, "the key server has to tell how old its key is"},

	KeyPathUnknown:   {true, "say in keyPath where the key server and vCenter are: outside, or which machines"},
	Paused:           {true, "remove the pause file"},
	AnotherAgent:     {true, "end the other agent; one may act on a vCenter"},
	NoPrivilege:      {true, "give the agent's role the privileges"},
	FactsUnread:      {true, "give the agent what it needs to read them: the policy judges by them"},
	NoBackup:         {true, "make a backup of the key server: keyreeve backup create"},
	ServerNotReady:   {true, "see keyreeve status on the key server"},
	ProbeFailed:      {true, "vCenter may be green while keys cannot be read; see the key server's log"},
	NoProvider:       {true, "add the key provider to vCenter, or correct its name in the rule"},
	ProviderNotGreen: {false, "see the status of the key provider in vCenter"},
	ProviderForeign:  {true, "the rule names a provider whose keys are not in a key server; name another"},
	NoStoragePolicy:  {true, "make the storage policy, or correct its name in the rule"},
	Failed:           {false, "it is tried again in the next run, with the key that was made for it"},
	PlainPolicy:      {true, "this storage policy does not encrypt; name another in the rule"},
	OutsideWindow:    {false, "it is done in the next window"},
	SelectionJumped:  {true, "look at the plan, and confirm its selection"},
	CanaryFirst:      {false, "it follows once the first ones are done and verified"},
	Limit:            {false, "it follows in the next run"},

	KeyPathEncrypted: {true, "keys depend on this machine, and it needs a key to start: decrypt it in vCenter"},
	MachineLocked:    {true, "bring its key back to the key server, then unlock it"},
	KeyCompromised:   {true, "add rekey to its rule, or recrypt it on demand; delete the snapshots that need it"},
	PolicyDiffers:    {true, "set the encrypting storage policy on it: vCenter shows it as not compliant"},
	HomeOnly:         {false, "only its home is encrypted, as a vTPM makes it; no rule asks for its disks"},
	HostKeyMissing:   {true, "restore the key of the host to the key server from a backup before the host reboots"},
}

// Todo is what a person can do about a reason.
func (r Reason) Todo() string { return reasons[r].todo }

// NeedsPerson tells whether nothing happens until somebody does something that
// is no daily routine.
func (r Reason) NeedsPerson() bool { return reasons[r].person }
