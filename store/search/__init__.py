"""Search in the text of messages: a scan that is the judge, and a text index beside the index that finds most at once.

`textfile` is the file, `fill` brings it up to the index, `filler` does that in the background, `lookup` asks it, `scan`
reads messages. Everything here may be deleted at any time; answers are complete all the same.
"""
