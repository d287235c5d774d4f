/**
 * What can overtake a load, asked of any cache that loads. A row of the database is read at once, and handed over when the gate of its load is opened.
 *
 * @typedef {object} Options
 * @property {number} [capacity]
 * @property {(key: string) => Promise<number>} load
 * @property {boolean} [asksItself] whether a load is to ask for its own key, by the means of the cache itself where it has some
 * @typedef {object} Contestant
 * @property {(key: string) => Promise<number | undefined>} get
 * @property {(key: string) => Promise<unknown>} delete
 * @property {() => Promise<unknown>} clear
 * @property {(key: string, value: number) => Promise<unknown>} [set]
 * @property {() => Promise<unknown>} [tag] every value has the one tag
 * @property {(key: string) => { leave: () => Promise<unknown> }} [start] begins a read that can be interrupted
 * @property {() => Promise<unknown>} [close]
 * @typedef {(options: Options) => Promise<Contestant>} Make
 * @typedef {{ name: string, wanted: string, run: (make: Make) => Promise<string> }} Race
 * @typedef {{ cache: Contestant, database: { row: number }, gates: Array<() => void>, openAll: () => void }} World
 */

const HANGS_AFTER = 1_000

const settle = () => new Promise((resolve) => setTimeout(resolve, 20))

/** @template A @param {Promise<A>} promise @returns {Promise<string>} */
const outcome = (promise) =>
  Promise.race([
    promise.then(
      (value) => String(value),
      () => "rejects"
    ),
    new Promise((resolve) => setTimeout(() => resolve("hangs"), HANGS_AFTER))
  ])

/** @param {Make} make @param {(world: World) => Promise<string>} use */
const inWorld = async (make, use) => {
  const database = { row: 1 }
  /** @type {Array<() => void>} */
  const gates = []
  let open = false
  const cache = await make({
    load: async () => {
      const { row } = database
      if (!open) await new Promise((resolve) => gates.push(() => resolve(undefined)))
      return row
    }
  })
  const openAll = () => {
    open = true
    for (const gate of gates.splice(0)) gate()
  }
  try {
    return await use({ cache, database, gates, openAll })
  } finally {
    openAll()
    await cache.close?.()
  }
}

/** @param {(cache: Contestant) => Promise<unknown> | undefined} overtake */
const overtaken =
  (overtake, stale = "stale") =>
  (/** @type {Make} */ make) =>
    inWorld(make, async ({ cache, database, openAll }) => {
      const first = outcome(cache.get("k"))
      await settle()
      database.row = 2
      const done = overtake(cache)
      if (done === undefined) return "–"
      // Where the removal itself waits for the load, it is over when that is.
      await Promise.race([done, settle()])
      openAll()
      await first
      await settle()
      const next = await outcome(cache.get("k"))
      return next === "1" ? stale : next === "2" || next === "99" ? "ok" : next
    })

/**
 * A load that has begun, a delete behind it, and a reader after that: nobody is answered yet.
 *
 * @param {World} world
 */
const readAfterDelete = async ({ cache, database }) => {
  const first = outcome(cache.get("k"))
  await settle()
  database.row = 2
  await Promise.race([cache.delete("k"), settle()])
  const late = outcome(cache.get("k"))
  await settle()
  return { first, late }
}

/** @type {readonly Race[]} */
export const races = [
  { name: "delete during a load", wanted: "ok", run: overtaken((cache) => cache.delete("k")) },
  { name: "clear during a load", wanted: "ok", run: overtaken((cache) => cache.clear()) },
  { name: "set during a load", wanted: "ok", run: overtaken((cache) => cache.set?.("k", 99), "set lost") },
  { name: "tag invalidated during a load", wanted: "ok", run: overtaken((cache) => cache.tag?.()) },
  {
    name: "a reader after the delete gets",
    wanted: "2",
    run: (make) =>
      inWorld(make, async (world) => {
        const { first, late } = await readAfterDelete(world)
        world.openAll()
        await first
        return late
      })
  },
  {
    name: "the old load ends last",
    wanted: "ok",
    run: (make) =>
      inWorld(make, async (world) => {
        const { cache, gates } = world
        const { first, late } = await readAfterDelete(world)
        for (const gate of gates.splice(0).reverse()) {
          gate()
          await settle()
        }
        await Promise.all([first, late])
        return (await outcome(cache.get("k"))) === "2" ? "ok" : "stale"
      })
  },
  {
    name: "the first caller gets",
    wanted: "1",
    run: (make) =>
      inWorld(make, async ({ cache, database, openAll }) => {
        const first = outcome(cache.get("k"))
        await settle()
        database.row = 2
        await Promise.race([cache.delete("k"), settle()])
        openAll()
        return first
      })
  },
  {
    name: "the first caller is interrupted, the second gets",
    wanted: "1",
    run: (make) =>
      inWorld(make, async ({ cache, openAll }) => {
        if (cache.start === undefined) return "–"
        const first = cache.start("k")
        await settle()
        const second = outcome(cache.get("k"))
        await settle()
        await first.leave()
        openAll()
        return second
      })
  },
  {
    name: "100 callers, loads",
    wanted: "1",
    run: async (make) => {
      let loads = 0
      const cache = await make({
        load: async () => {
          loads += 1
          await settle()
          return 1
        }
      })
      await Promise.all(Array.from({ length: 100 }, () => outcome(cache.get("k"))))
      await cache.close?.()
      return String(loads)
    }
  },
  {
    name: "after a failed load",
    wanted: "ok",
    run: async (make) => {
      let fails = true
      const cache = await make({
        load: async () => {
          if (fails) throw new Error("no")
          return 1
        }
      })
      await outcome(cache.get("k"))
      fails = false
      const next = await outcome(cache.get("k"))
      await cache.close?.()
      return next === "1" ? "ok" : "failure cached"
    }
  },
  {
    name: "a load that asks for its own key",
    wanted: "rejects",
    run: async (make) => {
      /** @type {Contestant} */
      const cache = await make({
        asksItself: true,
        load: async () => {
          await settle()
          return (await cache.get("k")) ?? 0
        }
      })
      return outcome(cache.get("k"))
    }
  },
  {
    name: "room for one, three keys at once",
    wanted: "ok",
    run: async (make) => {
      let loads = 0
      const cache = await make({
        capacity: 1,
        load: async () => {
          loads += 1
          await settle()
          return 1
        }
      })
      const answers = await Promise.all(["a", "b", "c", "a"].map((key) => outcome(cache.get(key))))
      await cache.close?.()
      return answers.some((answer) => answer !== "1")
        ? answers.filter((answer) => answer !== "1").join()
        : loads === 3
          ? "ok"
          : `${loads} loads`
    }
  }
]
