/** From names in the program to names in SQL. */

/** `createdAt` → `created_at`, `userID` → `user_id`, `HTMLBody` → `html_body`; what is snake case already stays. */
export const snakeCase = (name: string): string =>
  name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1_$2")
    .toLowerCase()

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
