/**
 * Which changes are about which table, though one of them names the schema and the other does not.
 *
 * A table without a schema is whatever the connection's search path finds, so it may be the one of any schema: it meets all that have its name. Two that name
 * their schemas are one table if those are the same. So too much may be forgotten, and never too little.
 */

export interface Named {
  readonly schema: string | undefined
  readonly name: string
}

/** Whether these may be one table. */
export const meet = (one: Named, other: Named): boolean =>
  one.name === other.name && (one.schema === undefined || other.schema === undefined || one.schema === other.schema)

const ofAny = (name: string): string => JSON.stringify([name])

/** The tag that stands for a table as it was named, and for no other. */
export const ownTag = ({ name, schema }: Named): string => JSON.stringify([schema ?? null, name])

const read = new WeakMap<Named, ReadonlyArray<string>>()

/** What carries one of these depends on the table. */
export const tagsRead = (table: Named): ReadonlyArray<string> => {
  let tags = read.get(table)
  if (tags === undefined) {
    tags = [ownTag(table), ofAny(table.name)]
    read.set(table, tags)
  }
  return tags
}

/** What a change of the table invalidates: what depends on that, or on any that it meets. */
export const tagsChanged = ({ name, schema }: Named): ReadonlyArray<string> =>
  schema === undefined ? [ofAny(name)] : [ownTag({ name, schema }), ownTag({ name, schema: undefined })]
