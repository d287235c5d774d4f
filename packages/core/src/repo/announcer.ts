/**
 * Which announcer belongs to a client: one for each database, whoever reaches it.
 *
 * ```text
 *   clients of one object                          one announcer, however many Repos are made of it
 *   a client, or a Repo, in a supervised child     the announcer of that child's instance before: those who listen stay, and are told that it was started anew
 * ```
 *
 * A child that reaches several databases has one for each, by what their clients were configured with. Two that only differ in what the configuration does not
 * say share one: then more is announced than was changed, and never less.
 */
import type { SqlClient } from "@effect/sql"
import { Predicate, Redacted } from "effect"
import type { Instance } from "../supervision/instance.js"
import { lineageOf, real, slotOf } from "../supervision/lineage.js"
import { Announcer } from "./changes.js"

/** What an instance of a child has left for the next one. */
interface Heirloom {
  readonly announcer: Announcer
  /** What its client was configured with. */
  database: string
  /** Whose it was last. */
  instance: Instance
}

const byClient = new WeakMap<SqlClient.SqlClient, Announcer>()
const families = new WeakMap<object, Map<string, Array<Heirloom>>>()

/** What belongs to a child, through all its instances. */
const heirloomsOf = (instance: Instance): Array<Heirloom> => {
  const { name, root } = lineageOf(instance)
  let family = families.get(root)
  if (family === undefined) {
    family = new Map()
    families.set(root, family)
  }
  let heirlooms = family.get(name)
  if (heirlooms === undefined) {
    heirlooms = []
    family.set(name, heirlooms)
  }
  return heirlooms
}

const parts = ["url", "host", "port", "path", "database", "username"]

/** What tells one database from another, as far as its client says. */
const databaseOf = (client: SqlClient.SqlClient): string => {
  const config: unknown = Predicate.hasProperty(client, "config") ? client.config : undefined
  if (typeof config !== "object" || config === null) return ""
  return JSON.stringify(
    parts.map((part) => {
      const value: unknown = Predicate.hasProperty(config, part) ? config[part] : undefined
      return Redacted.isRedacted(value) ? String(Redacted.value(value)) : value
    })
  )
}

/** The announcer of the database that a client reaches. `instance` is the one that is being built, if any is. */
export const announcerOf = (given: SqlClient.SqlClient, instance?: Instance): Announcer => {
  const client = real(given)
  const known = byClient.get(client)
  const below = slotOf(given)?.last
  if (known !== undefined && below === undefined && instance === undefined) return known
  const database = databaseOf(client)
  const owners = [below, instance].filter((owner) => owner !== undefined)
  let announcer = known
  let isNew = false
  for (const owner of owners) {
    const heirlooms = heirloomsOf(owner)
    // Where the configuration has changed, it is that of what nobody has asked for yet.
    const left =
      heirlooms.find((one) => (announcer === undefined ? one.database === database : one.announcer === announcer)) ??
      (announcer === undefined ? heirlooms.find((one) => one.instance !== owner) : undefined)
    if (left === undefined) continue
    announcer ??= left.announcer
    isNew ||= known === undefined && left.instance !== owner
    left.database = database
    left.instance = owner
  }
  announcer ??= new Announcer(client)
  byClient.set(client, announcer)
  for (const owner of owners) {
    const heirlooms = heirloomsOf(owner)
    if (!heirlooms.some((one) => one.announcer === announcer)) heirlooms.push({ announcer, database, instance: owner })
  }
  if (isNew) announcer.renew(client)
  return announcer
}
