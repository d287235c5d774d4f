/**
 * Each mutant takes one safeguard of the cache away, and names the test that must fail without it.
 *
 * @typedef {object} Mutant
 * @property {string} about what is broken
 * @property {string} file in packages/cache/src
 * @property {string} from stands in that file exactly once
 * @property {string} to
 * @property {string} test a file in packages/cache/test
 * @property {string} name of that test, or how it begins
 */

/** @param {string} test @param {string} name @param {string} about @param {string} file @param {string} from @param {string} to @returns {Mutant} */
const mutant = (test, name, about, file, from, to) => ({ about, file, from, to, test, name })

/** @type {readonly Mutant[]} */
export const mutants = [
  // -- identity ---------------------------------------------------------------------------------------------------------------------------------
  mutant(
    "races.test.ts",
    "by delete does not bring the old value back",
    "a load publishes without asking whether it is still the key's load",
    "store.ts",
    "    return this.loads.remove(load.key, load)\n  }\n\n  /** Writes what a load brought",
    "    this.loads.remove(load.key, load)\n    return true\n  }\n\n  /** Writes what a load brought"
  ),
  mutant(
    "races.test.ts",
    "by put does not replace what was put",
    "put leaves a load the right to publish",
    "store.ts",
    "    this.revoke(key)\n    this.write(key, value, span, now, extra)",
    "    this.write(key, value, span, now, extra)"
  ),
  mutant(
    "races.test.ts",
    "by delete is not joined by who asks afterwards",
    "delete leaves a load the right to publish",
    "store.ts",
    "    this.revoke(key)\n    this.admit(key)\n    this.dropOf(key)",
    "    this.admit(key)\n    this.dropOf(key)"
  ),
  mutant(
    "races.test.ts",
    "by clear does not bring the old value back",
    "clear leaves loads the right to publish",
    "store.ts",
    "    this.loads.clear()\n",
    ""
  ),
  mutant(
    "keyMap.test.ts",
    "removes only the very value it is given",
    "a primitive key is removed whatever is under it",
    "keyMap.ts",
    "    if (this.plain.get(key) === value) {",
    "    if (this.plain.has(key)) {"
  ),
  mutant(
    "stale.test.ts",
    "is not written by a load that was overtaken",
    "an overtaken load that found nothing removes what is there",
    "loader.ts",
    "        if (store.claim(load, tags)) {",
    "        store.claim(load, tags)\n        {"
  ),
  mutant(
    "stale.test.ts",
    "does not join a load that began before, whose value is not kept",
    "refresh joins a load that began before",
    "loader.ts",
    "      state.revoke(key)\n      state.counters.refreshes += 1\n      const waiter = fiber.getFiberRef(currentLoad)\n      const { turn } = state\n      const load =",
    "      state.counters.refreshes += 1\n      const waiter = fiber.getFiberRef(currentLoad)\n      const { turn } = state\n      const load = state.loads.get(key) ??"
  ),
  mutant(
    "stale.test.ts",
    "does not serve what was invalidated while the load was failing",
    "a failed load serves the old value without asking whether it is still there",
    "loader.ts",
    "        if (stale === undefined) return last\n",
    ""
  ),
  // -- tags: stamps at the start and at the end -------------------------------------------------------------------------------------------------
  mutant(
    "tags.test.ts",
    "is not kept, though its tags were only known from its value",
    "a load is not told of tags invalidated since it began",
    "store.ts",
    "      else if (load.mayHaveMore) load.shake(tag, this.turn)",
    ""
  ),
  mutant(
    "tags.test.ts",
    "does not serve who came after",
    "whoever joined after the invalidation gets the old value",
    "loader.ts",
    "ended(load, waiter, served)",
    "ended(load, waiter, (exit) => exit)"
  ),
  mutant(
    "tags.test.ts",
    "does not serve a getAll that came after",
    "a load that ended before it was waited for serves whoever asked",
    "load.ts",
    "resume(then(subject.exit))",
    "resume(subject.exit)"
  ),
  mutant(
    "tags.test.ts",
    "serves who began it, though the load itself invalidated its tag",
    "who begins a load is stamped after its first steps",
    "loader.ts",
    "    const answer = load.exit ?? this.join(turn,",
    "    const answer = load.exit ?? this.join(state.turn,"
  ),
  mutant(
    "tags.test.ts",
    "is not kept, though its tags were only known from its value",
    "who waits is stamped at the end of the load instead of when it came",
    "loader.ts",
    "      turn >= load.overtakenAt ||",
    "      this.service.store.turn >= load.overtakenAt ||"
  ),
  mutant(
    "tags.test.ts",
    "does not serve who came between two invalidations, either",
    "the last invalidation of a tag counts instead of the first",
    "load.ts",
    "    if (!this.shaken.has(tag)) this.shaken.set(tag, turn)",
    "    this.shaken.set(tag, turn)"
  ),
  mutant(
    "tags.test.ts",
    "leaves nothing of a tag behind, however its entries went",
    "an entry that goes stays in the tags' index",
    "entries.ts",
    "    if (this.tags.size > 0) this.tags.remove(slot)\n",
    ""
  ),
  // -- lifetimes and the timer ------------------------------------------------------------------------------------------------------------------
  mutant(
    "lifetimes.test.ts",
    "ends exactly that long after the last read or write",
    "a value lives a millisecond too long",
    "store.ts",
    "    if (now >= deadline) {\n",
    "    if (now > deadline) {\n"
  ),
  mutant(
    "commands.test.ts",
    "expire to an earlier time wakes the sweeper earlier",
    "the timer is not set anew for what ends earlier",
    "store.ts",
    "    if (expiry.due < this.armed) this.wake?.()\n",
    ""
  ),
  mutant(
    "expiry.test.ts",
    "everything expired is out an eighth of its lifetime late at most",
    "what was renewed is not filed again",
    "expiry.ts",
    "        else this.file(slot, now)\n",
    ""
  ),
  mutant(
    "timer.test.ts",
    "is never set for longer than a timer can wait",
    "the timer is not capped",
    "sweeper.ts",
    "Math.min(Math.max(Math.ceil(millis), 0), LONGEST_TIMER)",
    "Math.max(Math.ceil(millis), 0)"
  ),
  mutant(
    "timer.test.ts",
    "is one, keeps no process alive",
    "the timer keeps the process alive",
    "sweeper.ts",
    "      timer.unref?.()\n",
    ""
  ),
  mutant(
    "stale.test.ts",
    "never serves what delete has removed, before its expiry or after",
    "what is deleted is served for as long as what has expired",
    "store.ts",
    '    this.drop(slot, "invalidated")\n',
    "    this.entries.deadlines[slot] = 0\n"
  ),
  // -- structure --------------------------------------------------------------------------------------------------------------------------------
  mutant(
    "interleavings.test.ts",
    "3 operations",
    "an entry that goes stays filed",
    "entries.ts",
    "    this.expiry.unfile(slot)\n    if (this.tags.size > 0)",
    "    if (this.tags.size > 0)"
  ),
  mutant(
    "interleavings.test.ts",
    "3 operations",
    "an entry that goes stays in the policy's order",
    "store.ts",
    "    if (this.policy !== undefined) this.policy.remove(slot)\n",
    ""
  ),
  mutant(
    "interleavings.test.ts",
    "3 operations",
    "a reader that is interrupted stays among those who wait",
    "load.ts",
    "      if (wake !== undefined && subject.waiters.delete(wake) && waiter !== undefined) leave(waiter, subject)\n",
    ""
  ),
  mutant(
    "interleavings.test.ts",
    "3 operations",
    "a successor does not take the content that was kept for it",
    "service.ts",
    'const kept = settings.onRestart === "keep" ?',
    'const kept = settings.onRestart === "empty" ?'
  ),
  mutant(
    "removal.test.ts",
    "bounds what all values weigh together, after every write",
    "the weight of what goes is not taken off",
    "store.ts",
    "    this.unweigh(slot)\n    if (removed === undefined) {\n",
    "    if (removed === undefined) {\n"
  ),
  mutant(
    "entries.test.ts",
    "without a bound",
    "an entry that is moved to another slot stays filed under the one before",
    "entries.ts",
    "    this.expiry.move(from, to)\n",
    ""
  ),
  mutant(
    "entries.test.ts",
    "of the most recently used",
    "the policy is not told that an entry has moved",
    "entries.ts",
    "    this.beside?.move(from, to)\n",
    ""
  ),
  // -- waiting ----------------------------------------------------------------------------------------------------------------------------------
  mutant(
    "reentrancy.test.ts",
    "fails when the circle is closed from both ends by two callers",
    "a circle of loads is not looked for",
    "load.ts",
    "        if (cyclic !== undefined) return resume(Effect.die(cyclic))\n",
    ""
  ),
  mutant(
    "reentrancy.test.ts",
    "is no circle when the earlier wait was given up",
    "a wait that was given up stays an edge",
    "load.ts",
    "if (wake !== undefined && subject.waiters.delete(wake) && waiter !== undefined) leave(waiter, subject)",
    "if (wake !== undefined) subject.waiters.delete(wake)"
  ),
  mutant(
    "closed.test.ts",
    "tells those who wait for a load",
    "the end of the cache leaves those who wait waiting",
    "service.ts",
    "      load.settle(Exit.die(error))\n",
    ""
  ),
  mutant(
    "races.test.ts",
    "a loop of nothing but hits lets others run",
    "a hit does not count as an operation",
    "read.ts",
    "  counted.currentOpCount += 1\n",
    ""
  ),
  // -- transactions -----------------------------------------------------------------------------------------------------------------------------
  mutant(
    "evicting.pg.test.ts",
    "removes the key after the commit",
    "evicts at the write instead of after the commit",
    "transactions.ts",
    "          Transaction.onCommitOrNow(Effect.sync(committed)),",
    "          Effect.sync(committed),"
  ),
  mutant(
    "evicting.pg.test.ts",
    "removes nothing when the transaction is rolled back",
    "evicts after a rollback, too",
    "transactions.ts",
    "Transaction.afterRollback(Effect.sync(rolledBack))",
    "Transaction.afterRollback(Effect.sync(committed))"
  ),
  mutant(
    "evicting.pg.test.ts",
    "removes the key where nobody knows whether it was written",
    "a write that may have been done before its connection was lost evicts nothing",
    "transactions.ts",
    "Chunk.some(Cause.failures(cause), Announcement.isInDoubt)",
    "false"
  ),
  mutant(
    "evicting.pg.test.ts",
    "a load outside runs without the transaction that the cache was made in",
    "loads run in the transaction that the cache was made in",
    "service.ts",
    "    this.context = detached(context)",
    "    this.context = context"
  ),
  mutant(
    "evicting.pg.test.ts",
    "reads in the transaction and keeps nothing",
    "what is read in a transaction is kept for others",
    "loader.ts",
    "      inside ? this.around(key, request) : Effect.withFiberRuntime((fiber) => this.share(fiber, key, request))\n    )\n  }\n\n  /** Around",
    "      Effect.withFiberRuntime((fiber) => this.share(fiber, key, request))\n    )\n  }\n\n  /** Around"
  ),
  mutant(
    "restart.test.ts",
    "keep: what was evicted in between is gone",
    "what is evicted between two instances is handed on",
    "succession.ts",
    "    this.kept?.store.remove(key)\n",
    ""
  ),
  mutant(
    "supervised.test.ts",
    "evicts from the next instance what a write wrote",
    "an eviction is told to nobody but the instance that was asked",
    "evicting.ts",
    "      service.succession.evict(key)",
    "      service.evict(key)"
  ),
  // -- resources --------------------------------------------------------------------------------------------------------------------------------
  mutant(
    "ResourceCache.test.ts",
    "what was invalidated is released when the last one has left",
    "a value that was let go is released though it is lent",
    "ResourceCache.ts",
    "(!this.isHeld && this.borrowers === 0)",
    "!this.isHeld"
  ),
  mutant(
    "ResourceCache.test.ts",
    "what has expired is released when the last one has left",
    "a value is released when nobody has it, though it is held",
    "ResourceCache.ts",
    "(!this.isHeld && this.borrowers === 0)",
    "this.borrowers === 0"
  ),
  mutant(
    "ResourceCache.test.ts",
    "who gives up waiting has borrowed nothing",
    "who gives up waiting keeps the loan until its scope is closed",
    "ResourceCache.ts",
    "Exit.isSuccess(exit) ? Effect.addFinalizer(() => giveBack) : giveBack",
    "Effect.addFinalizer(() => giveBack)"
  ),
  mutant(
    "ResourceCache.test.ts",
    "of its own key, within the acquisition, dies with the path",
    "a circle of acquisitions is not looked for",
    "load.ts",
    "        if (cyclic !== undefined) return resume(Effect.die(cyclic))\n",
    ""
  ),
  // -- tables -----------------------------------------------------------------------------------------------------------------------------------
  mutant(
    "RepoCache.pg.test.ts",
    "is seen by the next read",
    "nothing is forgotten after a commit",
    "RepoCache.ts",
    "      for (const change of changes) forget(change, outcome)\n      if (outcome",
    "      if (outcome"
  ),
  mutant(
    "successor.pg.test.ts",
    "is seen, at the latest some seconds later: after its cache was restarted",
    "what one instance was still to forget dies with it",
    "RepoCache.ts",
    "    if (hasBegun) rows",
    "    if (false) rows"
  ),
  mutant(
    "rowkeys.pg.test.ts",
    "under one spelling of its key is found when it is inserted under another",
    "what is known to be absent ends by its own spelling alone",
    "RepoCache.ts",
    "        rows.service.succession.evictTag(ALIASED)\n",
    ""
  ),
  mutant(
    "aliases.test.ts",
    "keeps a load that began before from keeping that there is nothing",
    "a load that found nothing is not overtaken under another spelling",
    "loader.ts",
    "        if (store.claim(load, tags)) {",
    "        if (store.claim(load)) {"
  ),
  mutant(
    "aliases.test.ts",
    "keeps a load of the old row from serving who came after",
    "a load of another spelling serves who came after the change",
    "loader.ts",
    "isKept ? load.tags : [...load.tags, ALIASED]",
    "load.tags"
  ),
  mutant(
    "rowkeys.pg.test.ts",
    "is one: not named where it is read",
    "a table without a schema is none of those with one",
    "tabletags.ts",
    "schema === undefined ? [ofAny(name)] : [ownTag({ name, schema }), ownTag({ name, schema: undefined })]",
    "[ownTag({ name, schema })]"
  ),
  mutant(
    "feedtrigger.pg.test.ts",
    "is forgotten: Schema digits on text",
    "a trigger does not look at the type of its columns",
    "feedtrigger.ts",
    " or not (",
    " or false and not ("
  ),
  mutant(
    "feedtrigger.pg.test.ts",
    "is told of by its name of now: renamed was called",
    "a trigger tells of its table by the name that it had",
    "feedtrigger.ts",
    "tg_table_name, ",
    "'called', "
  ),
  mutant(
    "feedtrigger.pg.test.ts",
    "is forgotten: Schema string on char(5)",
    "a trigger casts texts",
    "feedtrigger.ts",
    "format('%s', ",
    "rtrim("
  ),
  mutant(
    "RepoCache.pg.test.ts",
    "reads its own writes, others read what is committed",
    "a transaction is served what it has changed",
    "RepoCache.ts",
    "          key: (key) => Announcement.unsafeHasPending(repo, currentContext, table, keyOf(key)),",
    "          key: () => false,"
  ),
  mutant(
    "RepoCache.pg.test.ts",
    "keeps what a query brought until a table changes that it depends on",
    "queries do not depend on tables",
    "RepoCache.ts",
    "      for (const tag of tagsChanged(changed)) queries.service.succession.evictTag(tag)\n",
    ""
  ),
  mutant(
    "RepoCache.pg.test.ts",
    "reads around the cache from the first write to the commit",
    "strict locks nothing",
    "RepoCache.ts",
    "    if (strict === true) {",
    "    if (strict === undefined) {"
  ),
  mutant(
    "histories.test.ts",
    "are linearizable by key with strict's locks",
    "a load may be shared while somebody writes what it reads",
    "loader.ts",
    "    if (this.service.locks.open > 0 && this.service.isLocked(key, request.tags))\n      return restore(this.around(key, request))\n",
    ""
  ),
  mutant(
    "histories.test.ts",
    "are never older than the last write acknowledged before the read began",
    "delete and evictions leave a load the right to publish",
    "store.ts",
    "  remove(key: K): void {\n    this.revoke(key)\n",
    "  remove(key: K): void {\n"
  ),
  mutant(
    "stale.test.ts",
    "with softTimeout waits no longer for several keys than for one",
    "several keys wait for softTimeout one after the other",
    "loader.ts",
    "Math.max(0, asked + softTimeout - this.service.now(fiber))",
    "softTimeout"
  ),
  mutant(
    "lifetimes.test.ts",
    "is chosen by the cache's own function wherever none is given with the value",
    "the lifetime that a cache chooses by the value is not asked for",
    "service.ts",
    "return lifetime === undefined ? span : lifetime(value, key)",
    "return span"
  ),
  mutant(
    "abandoned.test.ts",
    "has the last who waits take the load along, and nobody before",
    "a load is abandoned although others wait for it",
    "loader.ts",
    "one.goesOn || one.inBackground || one.waiters.size > 0",
    "one.goesOn || one.inBackground"
  ),
  mutant(
    "abandoned.test.ts",
    "leaves alone what is loaded in the background, or beside something in grace",
    "a load in the background is abandoned with the last who waits",
    "loader.ts",
    "one.goesOn || one.inBackground || one.waiters.size > 0",
    "one.waiters.size > 0"
  )
]
