#!/usr/bin/env python3
"""The administrator's pages in a real browser, behind both web servers."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Support"))
from browser import Browser
from stack import ADMIN_PASSWORD, Stack


class AdminPages(unittest.TestCase):
    def test_nginx(self):
        self.walk("nginx", "sqlite", Browser())

    def test_caddy_in_the_dark_on_a_phone_without_scripts(self):
        self.walk("caddy", "postgres", Browser(size=(390, 844), dark=True, javascript=False))

    def walk(self, web, database, browser):
        with Stack(web=web, database=database) as stack, browser:
            for name in ["alice", "bob", "carol"]:
                stack.tool("account", "create", f"{name}.test", "--email", f"{name}@example.com")
            browser.open(f"{stack.base_url}/admin")
            self.assertEqual(browser.path, "/admin/sign-in")
            self.seen(browser, f"admin-{web}-sign-in")
            browser.type("password", "wrong")
            browser.press("Sign in")
            self.assertIn("That is not the password.", browser.text)
            browser.type("password", ADMIN_PASSWORD)
            browser.press("Sign in")
            self.assertEqual(browser.path, "/admin")
            self.seen(browser, f"admin-{web}-overview")

            browser.follow("Accounts")
            self.assertEqual(len(browser.all("tbody tr")), 3)
            self.seen(browser, f"admin-{web}-accounts")
            browser.type("q", "bob@")
            browser.press("Search")
            self.assertEqual(len(browser.all("tbody tr")), 1)
            browser.follow("bob.test")
            self.seen(browser, f"admin-{web}-account")
            browser.press("Take down")
            self.assertIn("taken down", browser.find("dl.facts .state").text)
            self.assertIn("takendown", stack.tool("account", "info", "bob.test"))
            browser.press("Lift the takedown")
            self.assertIn("active", browser.find("dl.facts .state").text)

            for page in ["Reports", "Mail", "Network", "Log"]:
                browser.follow(page)
                self.assertEqual(browser.find("h1").text, page)
                self.seen(browser, f"admin-{web}-{page.lower()}")
            self.assertIn("takedown", browser.find("table").text)

            browser.follow("Invites")
            browser.type("uses", "2")
            browser.press("New code")
            self.assertIn("0 of 2", browser.text)
            self.seen(browser, f"admin-{web}-invites")
            browser.press("Disable")
            self.assertIn("disabled", browser.text)

            browser.press("Sign out")
            browser.open(f"{stack.base_url}/admin/accounts")
            self.assertEqual(browser.path, "/admin/sign-in")
            # A handle's host is somebody else's: no page of the administrator there.
            browser.open(f"http://alice.localhost:{stack.port}/admin")
            self.assertIn("There is nothing here.", browser.text)

    def seen(self, browser, name):
        """A picture for people, and what a browser and axe-core have to say."""
        browser.picture(name)
        self.assertEqual(browser.barriers(), [], name)
        self.assertEqual(browser.complaints(), [], name)
        wide = browser.driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
        self.assertFalse(wide, f"{name}: the page is wider than the window")


if __name__ == "__main__":
    unittest.main()
