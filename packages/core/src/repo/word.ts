/** What to say of a word that is none of those that an option takes. */
export const unknownWord = (option: string, given: unknown, allowed: ReadonlyArray<unknown>): string =>
  `${option} cannot be ${JSON.stringify(given)}: it is one of ${allowed.map((word) => JSON.stringify(word)).join(", ")}.`
