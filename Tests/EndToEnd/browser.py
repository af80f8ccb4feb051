"""A real browser for the tests: Debian's Chromium without a window, and axe-core, which finds what shuts people out."""

import importlib.util
import os
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

# Where the pictures go: to look at, not to compare.
PICTURES = Path(__file__).resolve().parents[2] / ".build" / "test" / "pictures"
WAIT_SECONDS = 20
# axe-core of the package axe-playwright-python; only the script is used.
AXE = Path(importlib.util.find_spec("axe_playwright_python").origin).parent / "axe.min.js"


class Browser:
    """`with Browser() as browser`: a window of `size`, light or dark, with or without JavaScript."""

    def __init__(self, size=(1100, 800), dark=False, javascript=True):
        options = webdriver.ChromeOptions()
        for argument in ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", f"--window-size={size[0]},{size[1]}"]:
            options.add_argument(argument)
        if os.geteuid() == 0:
            # Chromium's own sandbox does not run as root.
            options.add_argument("--no-sandbox")
        if dark:
            options.add_argument("--force-dark-mode")
            options.add_argument("--blink-settings=preferredColorScheme=0")
        if not javascript:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.javascript = javascript
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def open(self, url):
        self.driver.get(url)

    @property
    def path(self):
        return "/" + self.driver.current_url.split("/", 3)[3]

    @property
    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def type(self, name, text):
        field = self.driver.find_element(By.NAME, name)
        field.clear()
        field.send_keys(text)

    def follow(self, words):
        self.leave(self.driver.find_element(By.LINK_TEXT, words).click)

    def press(self, words):
        """Presses the button with these words and waits for the page that follows."""
        button = next(each for each in self.all("button") if each.text == words)
        self.leave(button.click)

    def leave(self, act):
        """Does something that leads to another page, and waits until that is there."""
        old = self.find("html")
        act()

        def is_new(driver):
            return driver.find_element(By.TAG_NAME, "html") != old and driver.execute_script(
                "return document.readyState") == "complete"

        WebDriverWait(self.driver, WAIT_SECONDS).until(is_new)

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(PICTURES / f"{name}.png"))

    def barriers(self):
        """What axe-core finds serious or critical, as lines. It is a script: without JavaScript it can't run."""
        if not self.javascript:
            return []
        self.driver.execute_script(AXE.read_text())
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")["violations"]
        return [
            f"{one['id']}: {one['help']} ({node['html'][:120]})"
            for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]
        ]

    def complaints(self):
        """What the console says that is not about an answer's status: scripts or styles that were refused."""
        return [line["message"] for line in self.driver.get_log("browser") if "Failed to load resource" not in line["message"]]
