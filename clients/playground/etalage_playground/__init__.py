"""A page on which to try a server. It knows the client `etalage`, and nothing of the server.

__main__     the command: where the server is, where the page is served
site         what the browser may ask for
guard        who may ask: this page alone; and what a page may load
asking       from the page's JSON to the client's options
telling      from the client's results to JSON, without what no page should have
wording      what went wrong, in plain words
suggestions  names to begin with, since a server lists neither its products nor its shoppers
page/        the page itself: HTML, CSS and JavaScript as they are written, nothing built
"""
