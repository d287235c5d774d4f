/** What `npm start` runs: the story, from beginning to end. */
import { runMain } from "./runMain.js"
import { story } from "./story.js"

runMain(story)
